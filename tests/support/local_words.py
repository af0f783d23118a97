"""Reports of a made-up site whose radiologists have words of their own for two findings."""

import random

FINDINGS = {
    "consolidation": (["consolidation", "hazefield"], ["with air bronchograms", "representing pneumonia", "in fever"]),
    "pneumothorax": (["pneumothorax"], ["with a pleural line", "after line placement", "at the apex"]),
    "cardiomegaly": (["cardiomegaly", "ox heart"], ["with a tortuous aorta", "without failure", "and a pacemaker"]),
    "fracture": (["fracture"], ["of the distal radius", "with angulation", "in a cast"]),
}
DEGREES = {
    "consolidation": ["patchy", "dense", "focal"],
    "pneumothorax": ["tiny", "apical", "small"],
    "cardiomegaly": ["mild", "marked", "borderline"],
    "fracture": ["transverse", "displaced", "healing"],
}
PATTERNS = ["There is {degree} {finding} {with_}.", "{degree} {finding} {with_}.", "No {finding}.", "Stable {finding}."]
CHINESE = {
    "胸腔积液": (["胸腔积液", "胸腔渗液"], ["伴肺膨胀不全", "深约3cm", "较前增多"]),
    "骨折": (["骨折"], ["断端移位", "骨痂形成", "对位良好"]),
    "脂肪肝": (["脂肪肝"], ["肝脏密度减低", "请结合肝功能", "肝大"]),
    "肺气肿": (["肺气肿"], ["伴肺大疱", "两肺透亮度增高", "桶状胸"]),
    "胆囊结石": (["胆囊结石"], ["后伴声影", "囊壁不厚", "胆总管无扩张"]),
}


def english(count=400):
    """So many reports; "hazefield" is written like consolidation, "ox heart" like cardiomegaly."""
    chance = random.Random(5)
    for _ in range(count):
        said = []
        for finding in chance.sample(sorted(FINDINGS), 3):
            words, company = FINDINGS[finding]
            sentence = chance.choice(PATTERNS).format(
                degree=chance.choice(DEGREES[finding]), finding=chance.choice(words), with_=chance.choice(company)
            )
            said.append(sentence[0].upper() + sentence[1:])
        yield "FINDINGS: " + " ".join(said) + "\nIMPRESSION: As above."


def chinese(count=300):
    """So many reports; 胸腔渗液 is written like 胸腔积液."""
    chance = random.Random(5)
    for _ in range(count):
        said = []
        for finding in chance.sample(sorted(CHINESE), 2):
            words, company = CHINESE[finding]
            said.append(
                f"{chance.choice(['少量', '可见', '未见', '考虑'])}{chance.choice(words)}，{chance.choice(company)}。"
            )
        yield "检查所见：" + "".join(said)
