"""What the Chinese pack reads: topics, coordinated sites, statements; assertion is tried by the pack's own cases."""

import pytest

from dicomnlp.analyse import analyse, load_pack
from dicomnlp.model import Analysis, Narrative, SectionName


def read(text: str) -> Analysis:
    """`text` by the Chinese pack."""
    return analyse(Narrative(text), language="zh")


def test_the_pack_is_of_the_size_that_reports_need() -> None:
    """Findings and sites with words of their own, and the pack's own cases."""
    pack = load_pack("zh")
    assert sum(bool(e.terms or e.cased or e.compose) for e in pack.concepts.values()) >= 700
    assert sum(bool(e.terms or e.cased) for e in pack.anatomy.values()) >= 400
    assert len(pack.cases) >= 250


def test_concepts_are_those_of_english() -> None:
    """A search for a pulmonary nodule finds both; what isn't a word comes from the English pack."""
    (zh,) = read("右肺结节。").findings
    (en,) = analyse(Narrative("Right pulmonary nodule."), language="en").findings
    assert zh.concept == en.concept
    english = load_pack("en").concepts
    shared = {i: e for i, e in load_pack("zh").concepts.items() if i in english}
    assert all(
        (e.meaning, e.code, e.parent) == (o.meaning, o.code, o.parent) for i, e in shared.items() if (o := english[i])
    )


TOPICS = [
    # text, (concept, side, site) of each finding
    (
        "右侧胸腔、心包可见积液。",
        [("pleural_effusion", "right", "right_pleura"), ("pericardial_effusion", None, "pericardium")],
    ),
    (
        "右侧髂静脉及上腔静脉未见狭窄。",
        [("iliac_vein_compression", "right", "iliac_vein"), ("svc_obstruction", None, "superior_vena_cava")],
    ),
    (
        "右肺上叶结节，边缘毛糙，考虑肺癌。",
        [("pulmonary_nodule", "right", "right_upper_lobe"), ("lung_cancer", "right", "right_upper_lobe")],
    ),
    # a semicolon ends a topic
    ("右肺上叶结节；脓肿。", [("pulmonary_nodule", "right", "right_upper_lobe"), ("abscess", None, None)]),
    # a word that names its place as well
    (
        "食管胃底静脉曲张，腹水。",
        [("esophageal_varices", None, "gastroesophageal_junction"), ("ascites", None, "abdomen")],
    ),
    # a site that is only near
    ("左肺上叶近肺门处结节。", [("pulmonary_nodule", "left", "left_upper_lobe")]),
    # an organ of its own doesn't take the side of another
    ("右肺结节，肝囊肿。", [("pulmonary_nodule", "right", "right_lung"), ("hepatic_cyst", None, "liver")]),
    ("胸腔积液（右侧）。", [("pleural_effusion", "right", "pleura")]),
    ("结节位于左肺下叶。", [("pulmonary_nodule", "left", "left_lower_lobe")]),
    # a tissue in the finding's name is no better site than the lobe before it
    ("左肺下叶见软组织肿块。", [("lung_mass", "left", "left_lower_lobe")]),
    ("双侧基底节区脑梗死。", [("cerebral_infarct", "bilateral", "basal_ganglia")]),
    # a site that tells where another is meant, or where it is worst
    ("胸12水平脊髓水肿。", [("cord_signal_abnormality", "midline", "spinal_cord")]),
    (
        "双肺斑片影，以右肺为著，考虑肺炎。",
        [("patchy_opacity", "bilateral", "lung"), ("pneumonia", "bilateral", "lung")],
    ),
    # a tissue of the organ before it
    ("右冠状动脉管壁不规则，管腔狭窄。", [("coronary_stenosis", "right", "right_coronary_artery")]),
    # 两 that counts is no side, 左后 is one though 向左 isn't
    ("右肾见两枚囊肿。", [("renal_cyst", "right", "right_kidney")]),
    ("腰4/5椎间盘向左后突出。", [("disc_herniation", "left", "l4_l5_disc")]),
    # a character that is part of another word names no site
    (
        "右侧额叶肿块，中心坏死，周围水肿。",
        [
            ("brain_mass", "right", "frontal_lobe"),
            ("necrosis", "right", "frontal_lobe"),
            ("brain_edema", "right", "frontal_lobe"),
        ],
    ),
    ("小肠梗阻。", [("small_bowel_obstruction", None, "small_bowel")]),
    # a longer name of a kind is what its last words mean at the site
    ("胆囊内见多发小结石。", [("cholelithiasis", None, "gallbladder")]),
    ("食管中段管腔狭窄。", [("esophageal_stricture", None, "middle_esophagus")]),
    # the same word at another site
    ("右髋假体位置良好。", [("hip_prosthesis", "right", "hip")]),
    ("右侧股骨颈见透亮线。", [("femoral_neck_fracture", "right", "femoral_neck")]),
    ("门静脉积气。", [("portal_venous_gas", None, "portal_vein")]),
    ("甲状腺右叶下极见低回声结节。", [("thyroid_nodule", "right", "right_thyroid_lobe")]),
    ("双侧峡部裂。", [("spondylolysis", "bilateral", "pars_interarticularis")]),
    ("左側肋膜腔積液。", [("pleural_effusion", "left", "pleura")]),
    # a name inside a longer one
    ("右输尿管上段扩张。", [("hydroureter", "right", "proximal_ureter")]),
]


@pytest.mark.parametrize(("text", "expected"), TOPICS, ids=[text for text, _ in TOPICS])
def test_sites_and_sides_come_first_and_hold(text: str, expected: list[tuple[str, str | None, str | None]]) -> None:
    """Of what a finding is said: the last site before it, what a list joins to it, else that of the phrase before."""
    found = [
        (f.concept.id, f.laterality and f.laterality.value, f.anatomy and f.anatomy.id) for f in read(text).findings
    ]
    assert found == expected


DEGREES = [
    ("肿块，增强后明显强化。", ("mass", None, None)),
    ("明显强化结节。", ("nodule", None, None)),
    ("左肺结节较前明显增大。", ("pulmonary_nodule", None, "increased")),
    ("右侧胸腔积液较前略减少。", ("pleural_effusion", None, "decreased")),
    ("右侧胸腔少量积液，较前略减少。", ("pleural_effusion", "minimal", "decreased")),
    ("左肺结节无明显变化。", ("pulmonary_nodule", None, "stable")),
    ("二尖瓣中度反流。", ("mitral_regurgitation", "moderate", None)),
]


@pytest.mark.parametrize(("text", "expected"), DEGREES, ids=[text for text, _ in DEGREES])
def test_how_far_something_changed_or_is_enhanced_is_no_degree_of_it(
    text: str, expected: tuple[str, str | None, str | None]
) -> None:
    """A degree inside the words of the course, or right before a quality, isn't the finding's."""
    (found,) = read(text).findings
    assert (found.concept.id, found.severity and found.severity.value, found.change and found.change.value) == expected


SIZES = [
    # no white space after the mark before it
    ("室间隔增厚，13mm。", [((13.0,), "size", "current")]),
    ("结节，0.6×0.4cm，边界清。", [((6.0, 4.0), "size", "current")]),
    ("结节，大小：8mm×6mm。", [((8.0, 6.0), "size", "current")]),
    ("气管插管末端位于隆突上约3.5cm。", [((35.0,), "distance", "current")]),
    ("肿块，范围3.4×2.6cm。", [((34.0, 26.0), "size", "current")]),
    ("结节，直径约1.2 cm。", [((12.0,), "size", "current")]),
    ("结节，大小约8mm（原约6mm）。", [((8.0,), "size", "current"), ((6.0,), "size", "prior")]),
    ("结节由5mm增大至9毫米。", [((5.0,), "size", "prior"), ((9.0,), "size", "current")]),
    ("肿块，最大层面约4.1cm×3.0cm×2.2cm。", [((41.0, 30.0, 22.0), "size", "current")]),
    ("肿块，ＣＴ值约３５ＨＵ。", [((35.0,), "density", "current")]),
    ("肿块SUVmax约6.4。", [((6.4,), "uptake", "current")]),
    ("距肛缘约5cm见肿块。", [((50.0,), "distance", "current")]),
]


@pytest.mark.parametrize(("text", "expected"), SIZES, ids=[text for text, _ in SIZES])
def test_quantities(text: str, expected: list[tuple[tuple[float, ...], str, str]]) -> None:
    """Lengths in millimetres, what was before, densities and uptake; a number stands free beside a Han character."""
    assert [(m.values, m.kind, m.temporality.value) for m in read(text).measurements] == expected


def test_a_size_after_another_site_is_that_sites() -> None:
    """The thickness of the endometrium is no size of the fibroid before it."""
    (fibroid,) = read("肌层见低回声结节，大小约25×22mm，内膜厚8mm。").findings
    assert [m.values for m in fibroid.measurements] == [(25.0, 22.0)]


ASKED = [
    ("右肺结节，建议两个月后复查CT。", ("CT", 60, 60)),
    ("建议增强MRI进一步检查。", ("MR", None, None)),
    ("请结合临床。", (None, None, None)),
    ("建议6-12个月后随访。", (None, 180, 365)),
    ("建议半年后复查。", (None, 182, 182)),
    ("建议穿刺活检。", (None, None, None)),
    ("建議安排胸部電腦斷層。", ("CT", None, None)),
    ("建议年度随访。", (None, 365, 365)),
    ("必要时行PET-CT检查。", ("PT", None, None)),
    # a time to come, and what is done then, asks without a word for it
    ("6个月后复查主动脉超声。", ("US", 180, 180)),
    ("2. 请半年后行甲状腺超声复查。", ("US", 182, 182)),
    ("宜12周后行腹部MRI平扫加增强。", ("MR", 84, 84)),
    ("拟2周后复查胸片，观察变化。", ("DX", 14, 14)),
    ("1. 3个月后行胸部CT检查。", ("CT", 90, 90)),
    ("建议胸部正侧位片随访，间隔6周。", ("DX", 42, 42)),
    # "来" after "后" is no "since"
    ("建议患者6周后来院行胸部CT检查。", ("CT", 42, 42)),
]


@pytest.mark.parametrize(("text", "expected"), ASKED, ids=[text for text, _ in ASKED])
def test_recommendations(text: str, expected: tuple[str | None, int | None, int | None]) -> None:
    """What is asked for, and when."""
    found = read("诊断意见：" + text).recommendations
    assert [(r.modality, r.interval_days_min, r.interval_days_max) for r in found] == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "无需复查。",
        "与前次CT比较，结节增大。",
        "患者3个月前行CT检查。",
        "退行性变，硬膜囊相应受压。",
        "3个月后复查CT示结节缩小。",
        "术后3个月复查CT，结节较前缩小。",
        "按上次建议复查，结节无变化。",
        "本次为上次报告建议的复查。",
        "患者拟行手术治疗。",
    ],
)
def test_what_recommends_nothing(text: str) -> None:
    """Refused, done before, or only spelt with the same characters."""
    assert read("诊断意见：" + text).recommendations == ()


GRADES = [
    ("BI-RADS 4C类。", [("BI-RADS", "4C")]),
    ("BI-RADS分类：3类", [("BI-RADS", "3")]),
    ("ＢＩ－ＲＡＤＳ ２类", [("BI-RADS", "2")]),
    ("C-TIRADS 4b类", [("C-TIRADS", "4B")]),
    ("TI-RADS分级4级", [("TI-RADS", "4")]),
    ("Lung-RADS 3类", [("Lung-RADS", "3")]),
    ("PI-RADS评分：5分", [("PI-RADS", "5")]),
    ("Bosniak Ⅱ级", [("Bosniak", "II")]),
]


@pytest.mark.parametrize(("text", "expected"), GRADES, ids=[text for text, _ in GRADES])
def test_grades(text: str, expected: list[tuple[str, str]]) -> None:
    """类, 级 and 分 stand after the category, with or without a space."""
    assert [(s.system, s.category) for s in read(text).scores] == expected


def test_communication_age_and_sex() -> None:
    """A critical value that was told, and a patient whose sex stands before the age."""
    analysis = read("患者，女，58岁。危急值：右侧张力性气胸。已电话通知急诊科张敏医生，10:25，已复述确认。")
    (told,) = analysis.communications
    assert (told.recipient, told.method, told.acknowledged, told.completed) == ("急诊科张敏医生", "电话", True, True)
    assert [(d.age_years, d.sex) for d in analysis.demographics] == [(58.0, "F")]
    assert [f.critical for f in analysis.findings] == [True]


SECTIONS = [
    ("检查所见：甲。\n诊断意见：乙。", ["findings", "impression"]),
    ("【影像所见】甲。【影像诊断】乙。", ["findings", "impression"]),
    # no white space between, as systems print it
    ("临床诊断：肺炎？检查所见：双肺清晰。诊断意见：未见异常。", ["indication", "findings", "impression"]),
    ("檢查所見：甲。\n診斷：乙。", ["findings", "impression"]),
    ("超声所见\n甲\n超声提示\n乙", ["findings", "impression"]),
]


@pytest.mark.parametrize(("text", "names"), SECTIONS, ids=[text.split("\n")[0] for text, _ in SECTIONS])
def test_headings(text: str, names: list[str]) -> None:
    """With colons of either width, in brackets, alone on a line, in traditional characters, right after a full stop."""
    assert [s.name for s in read(text).sections] == [SectionName(name) for name in names]


def test_what_is_shown_is_the_text_as_written() -> None:
    """Folding to simplified and half-width characters is one to one: offsets, findings, headings, statements."""
    text = "檢查所見：右肺結節，大小約８ｍｍ，建議複查。"
    analysis = read(text)
    assert analysis.sections[0].title == "檢查所見"
    assert [f.text for f in analysis.findings] == ["肺結節"]
    assert analysis.findings[0].measurements[0].text == "８ｍｍ"
    for said in (*analysis.findings, *analysis.measurements, *analysis.recommendations):
        assert said.text == text[said.start : said.end]
    assert [r.procedure for r in analysis.recommendations] == ["複查"]


def test_lines_of_a_printer_are_one_sentence_and_items_are_not() -> None:
    """A line that is full goes on; short lines and numbered items are sentences of their own."""
    wrapped = (
        "双侧肺纹理粗多而模糊，右肺上叶可见斑片状密度增高影，边缘模糊不清，左肺未\n"
        "见明显异常密度影及占位性病变，气管居中，双侧胸腔内可见少量液体密度影，\n"
        "请结合临床。"
    )
    found = {f.text: f.assertion.value for f in read(wrapped).findings}
    assert found["异常密度影"] == "absent"
    items = read("诊断：\n1.未见骨折\n2.关节积液\n3.骨质疏松")
    assert [f.assertion.value for f in items.findings] == ["absent", "present", "present"]


@pytest.mark.parametrize(
    ("sentence", "recipient", "completed"),
    [
        ("以上情况已与王医生沟通。", "王医生", True),
        ("已与急诊科李主任电话沟通。", "急诊科李主任", True),
        ("已于10:20与临床沟通。", "临床", True),
        ("已向病房值班医师报告。", "病房值班医师", True),
        ("建议与临床医生沟通。", "临床医生", False),  # nobody was told yet
        ("请与主管医生沟通后复查。", "主管医生", False),
    ],
)
def test_who_was_spoken_to_stands_within_the_verb(sentence: str, recipient: str, completed: bool) -> None:
    """The verb goes around whom."""
    [told] = read(f"影像诊断：右侧气胸。{sentence}").communications
    assert (told.recipient, told.completed) == (recipient, completed)


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("右侧卵巢囊肿蒂扭转，血流消失。", None),
        ("左侧睾丸扭转，内部血流信号消失。", None),
        ("膝关节间隙消失，骨赘形成。", None),
        ("右侧胸腔积液消失。", "resolved"),
    ],
)
def test_what_a_disease_takes_away_does_not_end_it(text: str, change: str | None) -> None:
    """Flow that is gone is a sign of the torsion; fluid that is gone is gone."""
    finding = read(text).findings[-1]
    assert (finding.change.value if finding.change else None) == change


@pytest.mark.parametrize(
    ("text", "days"), [("24小时后复查头颅CT。", 1), ("建议48小时内复查头颅CT。", 2), ("建议6个月后复查胸部CT。", 180)]
)
def test_a_request_of_one_line_that_names_a_modality_in_capitals_is_no_title(text: str, days: int) -> None:
    """It has no other letters; hours are a unit of two characters."""
    (request,) = read(text).recommendations
    assert (request.modality, request.interval_days_max) == ("CT", days)
