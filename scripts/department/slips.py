"""What radiologists get wrong in a report: the plots of contradictions, each with its ledger row."""

from collections.abc import Mapping
from typing import Any

from department.plots import Author
from department.wording import Pen, Planting, exams, fill


def laterality_order(author: Author, *, by_image: bool = False) -> None:
    """The report speaks of the other side than the order, or than the images' header."""
    pen, chance = author.pen, author.chance
    variant = author.variant("laterality_order")
    sides = pen.side()
    parts = dict(author.turned(variant["cases"]))
    say = parts.pop("say")
    description = variant_description(pen, variant["exam"], ordered=not by_image)
    document = author.report(
        variant["exam"],
        author.day(3, 360),
        Planting(parts=parts, say=[say], technique=chance.choice(variant["technique"]), description=description),
        sides=sides,
    )
    if by_image:
        sided = "L" if sides[0] in {"left", "左"} else "R"
        author.image(variant["exam"], document.day, study=document.study, sided=sided, description=document.description)
    kind = "laterality_image" if by_image else "laterality_order"
    author.plant(kind, document, say, sides=sides)


def variant_description(pen: Pen, exam: str, *, ordered: bool) -> str:
    """What the order says: with its side, or without one."""
    if ordered:
        return pen.one(pen.words["exams"][exam]["description"])
    return next(str(v["description"]) for v in pen.stories["laterality_missing"] if v["exam"] == exam)


def laterality_missing(author: Author) -> None:
    """Neither order nor report tells the side."""
    chance = author.chance
    variant = author.variant("laterality_missing")
    parts = dict(author.turned(variant["cases"]))
    say = parts.pop("say")
    document = author.report(
        variant["exam"],
        author.day(3, 360),
        Planting(
            parts=parts, say=[say], technique=chance.choice(variant["technique"]), description=variant["description"]
        ),
    )
    author.plant("laterality_missing", document, say)


def laterality_sections(author: Author) -> None:
    """Findings say one side, the impression the other."""
    pen, chance = author.pen, author.chance
    sex = author.course.patient.sex
    several = [v for v in pen.stories["laterality_sections"] if sex in exams()[v["exam"]].get("sexes", "FM")]
    variant = several[author.turn % len(several)]
    sides, index = pen.side(), chance.randrange(len(variant["find"]))
    say = variant["paired"][index]
    document = author.report(
        variant["exam"],
        author.day(3, 360),
        Planting(parts={variant["part"]: variant["find"][index]}, say=[say]),
        sides=sides,
    )
    author.plant(
        "laterality_sections",
        document,
        say,
        sides=sides,
        # what is found is found, whichever the side
        allowed=variant.get("allowed", ()),
    )


def sex(author: Author) -> None:
    """An organ or a word of the other sex."""
    variant = author.variant("sex")
    other = "female" if author.course.patient.sex == "M" else "male"
    said = author.turned(variant[other])
    planting = Planting(indication=said) if variant.get("indication") else Planting(parts={variant["part"]: said})
    document = author.report(variant["exam"], author.day(3, 360), planting, quiet=True)
    author.plant("sex", document, said, header=author.course.patient.sex)


def age(author: Author) -> None:
    """Another age than the header's."""
    pen, chance = author.pen, author.chance
    patient, day = author.course.patient, author.day(3, 360)
    exam = chance.choice(["ct_chest", "xr_chest", "ct_abdomen", "ct_head"])
    true = patient.age(day)
    said_age = true + chance.choice([-1, 1]) * chance.randint(11, 30)
    if said_age < 16:
        said_age = true + chance.randint(11, 30)
    if said_age > 99:
        said_age = true - chance.randint(11, 30)
    said = fill(
        author.turned(pen.stories["age"][0]["said"]),
        {
            "age": str(said_age),
            "person": pen.person(patient.sex),
            "indication": pen.one(pen.words["exams"][exam]["indication"]),
        },
    )
    document = author.report(exam, day, Planting(indication=said))
    author.plant("age", document, said, header=true, said=said_age)


def sections(author: Author) -> None:
    """The impression states what the findings deny, or the reverse."""
    chance = author.chance
    variant, sides = author.variant("sections"), author.pen.side()
    say = author.turned(variant["say"])
    find = chance.choice(variant["find"])
    document = author.report(
        variant["exam"], author.day(3, 360), Planting(parts={variant["part"]: find}, say=[say]), sides=sides
    )
    author.plant(
        "sections",
        document,
        f"{find} | {say}",
        sides=sides,
        allowed=["critical"] if "pneumothorax" in say or "气胸" in say else [],
    )


def coded(author: Author, *, agrees: bool = False) -> None:
    """The tree measures something else than the text says; or the same, with a digit that the text rounds away."""
    pen, chance = author.pen, author.chance
    variant = author.variant("coded")
    size, size_words = author.lesion(variant)
    sides, places = pen.side(), {"size": size_words}
    stated: float = size + chance.choice([-1, 1]) * max(4, round(size * chance.uniform(0.3, 0.6)))
    if agrees:
        stated = size + chance.choice([-0.4, 0, 0.4])
    find = author.turned(variant["find"])
    document = author.report(
        variant["exam"],
        author.day(3, 360),
        Planting(parts={variant["part"]: find}, say=[chance.choice(variant["say"])], places=places),
        sides=sides,
        coded=((tuple(variant["coded"]), float(stated)),),
    )
    author.plant(
        "coded",
        document,
        find,
        sides=sides,
        places=places,
        near=agrees,
        allowed=variant["allowed"],
        text=size,
        tree=stated,
    )


def category(author: Author) -> None:
    """A category that isn't that of what is described."""
    pen, chance = author.pen, author.chance
    variant, sides = author.variant("category"), pen.side()
    find, say = chance.choice(variant["find"]), author.turned(variant["say"])
    document = author.report(
        "mammogram", author.day(3, 360), Planting(parts={variant["part"]: find}, say=[say]), sides=sides
    )
    author.plant("category", document, f"{find} | {say}", sides=sides, allowed=variant["allowed"])


def order_complete(author: Author) -> None:
    """Ordered complete, and only a part described."""
    variant = author.variant("order_complete")
    say = author.turned(variant["say"])
    document = author.report(
        variant["exam"],
        author.day(3, 360),
        Planting(say=[say], keep=variant["keep"], technique=_plain(author, variant)),
        quiet=True,
    )
    author.plant("order_complete", document, " / ".join(variant["keep"]))


def order_limited(author: Author) -> None:
    """Ordered limited, and all described."""
    variant = author.variant("order_limited")
    say = author.turned(variant["say"])
    document = author.report(
        variant["exam"],
        author.day(3, 360),
        Planting(
            say=[say],
            described_as=variant["as"],
            technique=author.pen.one(author.pen.words["exams"][variant["as"]]["technique"]),
        ),
    )
    author.plant("order_limited", document, say)


def _plain(author: Author, variant: Mapping[str, Any]) -> str:
    return author.pen.one(author.pen.words["exams"][variant["exam"]]["technique"])


def size(author: Author) -> None:
    """Said to have grown, and the number fell."""
    pen, chance = author.pen, author.chance
    variant = author.variant("size")
    now, _ = author.lesion(variant)
    before, style = now + chance.randint(3, 9), pen.style()
    sides, places = pen.side(), {"size": pen.size(now, style=style), "was": pen.size(before, style=style)}
    find = author.turned(variant["find"])
    document = author.report(
        variant["exam"],
        author.day(3, 360),
        Planting(
            parts={variant["part"]: find},
            say=[chance.choice(variant["say"])],
            places=places,
            compared=author.day(400, 700),
        ),
        sides=sides,
    )
    author.plant("size", document, find, sides=sides, places=places, allowed=variant["allowed"], now=now, before=before)


def preliminary(author: Author, *, agrees: bool = False) -> None:
    """A preliminary report, and the final one that says the opposite, or the same."""
    chance = author.chance
    variant, sides, day = author.variant("preliminary"), author.pen.side(), author.day(3, 360)
    minutes = chance.randint(60, 12 * 60)
    find, say = chance.choice(list(zip(variant["find"], variant["paired"], strict=True)))
    denial = chance.choice(variant["preliminary"]), chance.choice(variant["preliminary_say"])
    found, said = (find, say) if agrees else denial
    first = author.report(
        variant["exam"],
        day,
        Planting(parts={variant["part"]: found}, say=[said]),
        sides=sides,
        preliminary=True,
        minutes=minutes,
    )
    document = author.report(
        variant["exam"],
        day,
        Planting(parts={variant["part"]: find}, say=[say], description=first.description),
        sides=sides,
        study=first.study,
        predecessor=first.number,
        minutes=minutes + chance.randint(60, 600),
    )
    author.plant(
        "preliminary",
        document,
        f"{find} | {say}",
        sides=sides,
        near=agrees,
        allowed=variant.get("allowed", ()),
        preliminary=first.sop_instance_uid,
    )
