"""What identifies people in any report, known from its header or not: patterns of numbers, addresses and signatures.

They find what has the form of an identity. What hasn't (a name in the middle of a sentence that the header doesn't
hold) they can't: docs/how-to/export-and-deidentify.md says what remains.
"""

import enum
import re
from collections.abc import Iterator

from dicomnlp.export.names import COMPOUND_SURNAMES, HONORIFIC, NOT_NAMES


class Kind(enum.StrEnum):
    """What was replaced; the value in square brackets is what stands in its place."""

    PATIENT = "PATIENT"
    PERSON = "PERSON"
    IDENTIFIER = "ID"
    PHONE = "PHONE"
    EMAIL = "EMAIL"
    URL = "URL"
    ADDRESS = "ADDRESS"
    PLACE = "PLACE"
    BIRTH_DATE = "BIRTH DATE"
    AGE = "AGE"
    DATE = "DATE"
    UID = "UID"


_SURNAMES = (
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏"
    "钟汪田任姜范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文張劉陳楊趙黃吳孫馬羅"
    "鄭謝韓馮蕭鄧許呂蘇盧蔣賈葉閻鐘譚鄒陸顧龍萬錢湯喬賀賴龔"
)
_SURNAME = f"(?:{'|'.join(COMPOUND_SURNAMES)}|[{_SURNAMES}])"
_CAPITALISED = r"(?:[A-Z][a-zA-Z]*(?:['\-][A-Z]?[a-zA-Z]+)*)"
_INITIAL = r"(?:[A-Z]\.?(?![A-Za-z]))"
_NAME = rf"(?:(?:{_INITIAL},? ?){{0,2}}{_CAPITALISED}(?:[ \t]*,?[ \t]?(?:{_INITIAL}|{_CAPITALISED}|(?:van|von|de|der|den|del|la|bin|al)(?=\s))){{0,4}})"
_CREDENTIAL = (
    r"(?:,?[ \t]+(?:M\.?\s?D\.?|Ph\.?\s?D\.?|M\.?B\.?B\.?S\.?|FRCR|FRCPC|FACR|FRANZCR|DABR|MBChB|MRCP|D\.\s?O\.|R\.\s?N\.|N\.\s?P\.|P\.\s?A\."
    r"|P\.?A\.?-C|R\.\s?T\.)|,[ \t]+(?:DO|RN|NP))(?![A-Za-z])"
)
"""RT and PA without marks are a side and a projection."""
_TITLED = r"(?:Mrs?|Ms|Miss|Drs?|Doctor|Prof(?:essor)?|Herrn?|Frau|MRS\.|DRS?\.|PROF\.?|DOCTOR|mrs?\.|drs?\.)"
"""MR, MS and DR in capitals are magnetic resonance, a sclerosis and a radiograph."""
_SIGNED = (
    r"(?:(?:(?:electronically\s+|digitally\s+)?(?:signed|dictated|reported|read|interpreted|verified|approved|authenticated"
    r"|transcribed|reviewed|finali[sz]ed|performed|requested|ordered|referred|authored|attested|prepared|typed|scanned"
    r"|diktiert|befundet|unterschrieben|validiert)(?:\s+(?:and\s+\w+\s+)?(?:electronically\s+)?)(?:by|von|durch)"
    r"|(?:discussed|reviewed|communicated|spoke|spoken|conveyed|relayed|called|telephoned|reported|given|paged|faxed)"
    r"(?:\s+(?:directly|verbally|personally|by\s+(?:tele)?phone|findings|results?)){0,2}\s+(?:with|to))"
    r"(?:[ \t]*[:\-][ \t]*\n?[ \t]*|[ \t]+(?=[A-Z]))"
    r"|(?:(?:referring|ordering|attending|requesting|reading|interpreting|performing|primary\s+care|signing|dictating)"
    r"\s+(?:physician|provider|doctor|radiologist|clinician|md)|radiologist|technologist|sonographer|transcriptionist|resident"
    r"|fellow|attending|physician|surgeon|observer|author|verifier|cc|attn)[ \t]*:[ \t]*\n?[ \t]*)"
)
"""With what stands between them and the name: what only says who somebody is needs its colon."""
_HAN_CUE = (
    "报告医[师生]|审核医[师生]|诊断医[师生]|检查医[师生]|申请医[师生]|主治医[师生]|住院医[师生]|书写医[师生]|签发医[师生]|复核医[师生]"
    "|报告者|审核者|复核者|记录者|操作者|检查者|诊断者|签名|签字|签发|审核|复核|书写者?|技师|医师|医生|报告人|审核人|联系人|申请人|家属|護士|護師"
    "|報告醫[師生]|審核醫[師生]|診斷醫[師生]|簽名|醫師|醫生|护士"
)
_ID_CUE = (
    r"(?:m\.?r\.?n\.?|medical\s+record(?:\s+(?:number|no|num))?|(?:patient|pat|chart|hospital|unit|account|encounter|visit"
    r"|case|order|requisition|request|exam|examination|study|specimen|policy|insurance|member|fin|csn|nhs|ssn|admission"
    r"|registration|passport|licen[cs]e|npi|dea)\s*[-_ ]?\s*(?:id|no|num|number|nr|#)|pid|acc(?:ession)?\s*"
    r"(?:number|no|num|#)?|fallnummer|patienten-?nr|auftragsnummer"
    r"|病案号|病历号|住院号|门诊号|检查号|影像号|登记号|患者编号|患者ID|病人ID|申请单号|流水号|身份证号?码?|医保号|医保卡号|就诊号|就诊卡号"
    r"|床号|床位号|放射号|CT号|MRI?号|X线号|X光号|超声号|病理号|编号|病案號|病歷號|住院號|門診號|檢查號|影像號|身分證字?號?)"
)
_PHONE_CUE = (
    r"(?:tel(?:ephone)?|phone|ph|mobile|cell|fax|pager|beeper|ext(?:ension)?|call(?:ed|back)?(?:\s+(?:at|on|number))?|contact"
    r"|telefon|handy|durchwahl|电话|手机|传真|联系方式|联系电话|分机|電話|手機|傳真)"
)
_STREET = (
    r"(?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Place|Pl|Square|Sq|Terrace|Way|Parkway|Pkwy"
    r"|Highway|Hwy|Crescent|Close)"
)

CUED: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    (Kind.EMAIL, re.compile(r"[\w.+\-]{1,64}@[A-Za-z0-9\-]{1,63}(?:\.[A-Za-z0-9\-]{1,63}){1,6}")),
    (Kind.URL, re.compile(r"(?i:https?://|www\.)[^\s<>\"'）)]{3,300}")),
    (
        Kind.IDENTIFIER,
        re.compile(rf"(?<![A-Za-z])(?i:{_ID_CUE})(?i:\s?(?:is|was|为|是))?[\s:#.=]{{0,6}}(?P<it>(?=[A-Za-z\-/.]{{0,12}}\d)[A-Za-z0-9][A-Za-z0-9\-/_.]{{0,40}}(?<![.\-/]))"),
    ),
    (Kind.PHONE, re.compile(rf"(?<![A-Za-z])(?i:{_PHONE_CUE})[\s:#.]{{0,4}}(?P<it>\+?[\d(][\d\s().\-/]{{2,20}}\d)(?!\s?(?:mm|cm|%))")),
    (Kind.PERSON, re.compile(rf"(?<![A-Za-z]){_TITLED}\.?[ \t]{{1,3}}(?P<it>{_NAME})")),
    (Kind.PERSON, re.compile(rf"(?<![A-Za-z])(?i:{_SIGNED})(?P<it>(?:{_TITLED}\.?[ \t]+)*{_NAME})")),
    (Kind.PERSON, re.compile(rf"(?<![A-Za-z])(?P<it>(?:{_CAPITALISED}|{_INITIAL})(?:[ \t]+(?:{_CAPITALISED}|{_INITIAL})){{0,3}}){_CREDENTIAL}")),
    (Kind.PATIENT, re.compile(rf"(?<![A-Za-z])(?i:patient(?:'s)?\s+name|name\s+of\s+patient|pt\s+name|patient|name|nachname|vorname)[ \t]*:[ \t]*(?P<it>{_NAME})")),
    (Kind.PERSON, re.compile(rf"(?:{_HAN_CUE})\s?[:：]\s?(?P<it>[\u3400-\u9fff·]{{2,4}}(?:[ \t、,，/]{{1,2}}{_SURNAME}[\u3400-\u9fff]{{1,2}}(?![\u3400-\u9fff]))*|[A-Z][A-Za-z .'\-]{{2,40}})")),
    # without a colon, or after a word that also begins other sentences: what follows must begin with a surname
    (Kind.PERSON, re.compile(rf"(?:(?:{_HAN_CUE})[ \t\u3000]{{1,4}}|(?:报告|诊断|检查|申请|操作|记录)\s?[:：]\s?)(?P<it>{_SURNAME}[\u3400-\u9fff]{{1,2}})(?![\u3400-\u9fff])")),
    (Kind.PATIENT, re.compile(r"(?:患者姓名|病人姓名|姓名|患者|病人)\s?[:：]\s?(?P<it>[\u3400-\u9fff·]{2,4}|[A-Z][A-Za-z .'\-]{2,40})")),
    (Kind.PERSON, re.compile(rf"(?<![\u3400-\u9fff])(?P<it>{_SURNAME}[\u3400-\u9fff]{{0,2}}?)(?:{HONORIFIC})")),
    (Kind.PERSON, re.compile(rf"(?<=[与和向请由经给予通知致电])(?P<it>{_SURNAME}[\u3400-\u9fff]{{0,2}}?)(?:{HONORIFIC})")),
    (Kind.ADDRESS, re.compile(r"(?:家庭住址|家庭地址|现住址|联系地址|户籍地址|住址|地址)\s?[:：]\s?(?P<it>[^\n。；;,，]{2,60})")),
    (Kind.ADDRESS, re.compile(r"(?<![A-Za-z])(?i:address|residing\s+at|resides\s+at|lives\s+at|wohnhaft)[ \t]*:?[ \t]*(?P<it>\d[^\n;]{4,80})")),
    (Kind.ADDRESS, re.compile(rf"(?<!\w)\d{{1,5}}[ \t]+(?:[NSEW]\.?[ \t]+)?(?:[A-Z][A-Za-z'\-]+[ \t]+){{1,3}}{_STREET}\b\.?(?:,?[ \t]+(?:Apt|Suite|Ste|Unit|#)\.?[ \t]*[\w\-]+)?(?:,[ \t]+[A-Z][A-Za-z .]{{2,30}})?(?:,?[ \t]+[A-Z]{{2}})?(?:[ \t]+\d{{5}}(?:-\d{{4}})?)?")),
    (Kind.ADDRESS, re.compile(r"[\u3400-\u9fff]{2,8}?(?:省|自治区|市)[\u3400-\u9fff]{1,10}?(?:市|区|县|镇|乡)[\u3400-\u9fff\d\-]{0,20}?(?:路|街|道|巷|村|里|弄)(?:[\d一-十\-]{1,6}(?:号|號|弄|栋|幢|单元|室|楼|层)){0,5}")),
    (Kind.BIRTH_DATE, re.compile(r"(?<!\d)(?P<it>(?:19|20)\d{2}年(?:\s?\d{1,2}月(?:\s?\d{1,2}[日号])?)?)(?=\s?(?:出生|生人))")),
)  # fmt: skip
"""With the words that announce them; `it` is what is replaced, else all."""

BARE: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    (Kind.IDENTIFIER, re.compile(r"(?<!\d)\d{3}-\d{2}-\d{4}(?!\d)")),
    (Kind.IDENTIFIER, re.compile(r"(?<!\d)\d{17}[\dXx](?![\dA-Za-z])")),
    (Kind.PHONE, re.compile(r"(?<![\d.])(?:\+\d{1,3}[\s.\-]?)?(?:\(\d{2,4}\)|\d{2,4})[\s.\-]\d{3,4}[\s.\-]\d{3,4}(?![\d.])")),
    (Kind.PHONE, re.compile(r"(?<![\d.])(?:\+?86[\s\-]?)?1[3-9]\d(?:[\s\-]?\d{4}){2}(?!\d)")),
    (Kind.PHONE, re.compile(r"(?<![\d.])0\d{2,3}[\-\s]\d{7,8}(?!\d)")),
    (Kind.PHONE, re.compile(r"\+\d{1,3}(?:[\s.\-]?\(?\d{1,4}\)?){2,6}(?!\d)")),
    (Kind.IDENTIFIER, re.compile(r"(?<![\d.])\d{7,24}(?![\d]|\.\d)")),
    (Kind.IDENTIFIER, re.compile(r"(?<![A-Za-z0-9])[A-Z]{1,4}-?\d{5,20}(?![A-Za-z0-9])")),
    (Kind.PLACE, re.compile(r"(?<![A-Za-z])(?:(?:St\.|[A-Z][A-Za-z'&\-]+)[ \t]+(?:of[ \t]+|the[ \t]+)?){1,5}(?:Hospitals?|Medical\s+Cent(?:er|re)|Clinic|Infirmary|Health\s+(?:System|Cent(?:er|re)))(?![A-Za-z])")),
    (Kind.PLACE, re.compile(r"[\u3400-\u9fff]{2,8}?(?:省|市|县|區|区|州|大学|大學|军区)[\u3400-\u9fff]{0,12}?(?:医院|醫院|卫生院|保健院|诊所)")),
)  # fmt: skip

UIDS = re.compile(r"(?<![\d.])[0-2](?:\.(?:0|[1-9]\d*)){5,}(?![\d.]\d)")

AGES: tuple[re.Pattern[str], ...] = (
    re.compile(r"(?<![\d.])(?P<it>9\d|1[0-4]\d)(?=[\s\-]{0,2}(?i:years?\b|yrs?\b|y\.?\s?/?o\b|y\b(?=\s?(?:old|male|female|m\b|f\b))|jahre?|jahrig))"),
    re.compile(r"(?i:\baged?(?:\s+of)?[\s:]{1,3})(?P<it>9\d|1[0-4]\d)(?![\d.]|\s?(?:mm|cm|%|days?|weeks?|months?|d\b|w\b))"),
    re.compile(r"(?<!\d)(?P<it>0?9\d|1[0-4]\d)Y(?![A-Za-z])"),
    re.compile(r"(?<![\d.])(?P<it>9\d|1[0-4]\d)(?=\s?(?:周岁|周歲|岁|歲))"),
    re.compile(r"(?:年龄|年齡)\s?[:：]?\s?(?P<it>9\d|1[0-4]\d)(?![\d.]|\s?[天日月])"),
    re.compile(r"(?P<it>九十[一二三四五六七八九]?|一百[零一二三四五六七八九十]{0,3})(?=\s?(?:周岁|岁|歲))"),
    re.compile(r"(?i:\b(?P<it>ninety(?:[\s\-](?:one|two|three|four|five|six|seven|eight|nine))?|one\s+hundred(?:\s+and\s+\w+)?)(?=[\s\-]years?\b))"),
)  # fmt: skip
"""Ages above 89, of which there are few people (45 CFR 164.514(b)(2)(i)(C))."""

BIRTH_CUE = re.compile(
    r"(?i:d\.?o\.?b\.?|date\s+of\s+birth|birth\s?-?date|born(?:\s+on)?|geb(?:oren|\.)?(?:\s+am)?|geburtsdatum|出生日期|出生年月日?|出生于?|生日|生于)"
    r"[\s:()]{0,4}$"
)
"""What a text ends in before a date of birth."""


def cued(text: str) -> Iterator[tuple[int, int, Kind]]:
    """Spans of folded `text` that words announce as an identity."""
    for kind, pattern in CUED:
        for match in pattern.finditer(text):
            start, end = match.span("it" if "it" in pattern.groupindex else 0)
            if kind in {Kind.PERSON, Kind.PATIENT}:
                end = _end_of_name(text, start, end)
            if start < end:
                yield start, end, kind


def _end_of_name(text: str, start: int, end: int) -> int:
    """Where a name ends that is followed by the capital of the next sentence."""
    kept = start
    for word in re.finditer(r"\S+", text[start:end]):
        if word[0].strip(".,") in NOT_NAMES:
            break
        kept = start + word.end()
    return kept


def bare(text: str) -> Iterator[tuple[int, int, Kind]]:
    """Spans of folded `text` that are identities by their form alone."""
    for kind, pattern in BARE:
        for match in pattern.finditer(text):
            yield *match.span(), kind


def ages(text: str) -> Iterator[tuple[int, int]]:
    """Spans of ages above 89, without their unit."""
    for pattern in AGES:
        for match in pattern.finditer(text):
            yield match.span("it")
