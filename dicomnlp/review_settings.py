"""The tables of config.toml about what a second reader would remark: contradictions and guidance."""

from pydantic import Field

from dicomnlp.setting_tables import Table


class ContradictionSettings(Table):
    """Contradictions that are looked for in reports analysed from now on, each kind by itself."""

    laterality_order: bool = Field(True, description="The side that was ordered, and the side the text is about.")
    laterality_header: bool = Field(
        True, description="The side of coded items or of the images' headers, and the side in the text."
    )
    laterality_text: bool = Field(True, description="The side in the findings, and the side in the impression.")
    laterality_missing: bool = Field(True, description="One of two was examined, and no side is told anywhere.")
    sex: bool = Field(True, description="The patient's sex, and the sex or the organs in the text.")
    age: bool = Field(True, description="The patient's age by the dates in the header, and the age in the text.")
    findings_impression: bool = Field(True, description="What the findings deny and the impression states, or reverse.")
    measurement_item: bool = Field(True, description="The number in a measured item, and the number in the text.")
    measurement_text: bool = Field(True, description="The size in the findings, and the size in the impression.")
    category: bool = Field(True, description="The dictated category of a reporting system, and what is described.")
    complete_order: bool = Field(True, description="A complete ultrasound that leaves out what belongs to it.")
    limited_order: bool = Field(True, description="A limited ultrasound that describes all of a complete one.")
    prior_size: bool = Field(True, description='Two sizes that contradict the words for their change: "increased".')
    preliminary_final: bool = Field(True, description="What a preliminary report states, and what the final one does.")


class GuidanceSettings(Table):
    """Guidelines and measures of quality that reports analysed from now on are held against."""

    fleischner_2017: bool = Field(True, description="Fleischner Society: incidental pulmonary nodules on CT.")
    acr_adrenal_2017: bool = Field(True, description="ACR: incidental adrenal masses.")
    acr_renal_2018: bool = Field(True, description="ACR: incidental renal masses.")
    acr_thyroid_2015: bool = Field(True, description="ACR: incidental thyroid nodules on CT, MRI and PET.")
    acr_pancreas_2017: bool = Field(True, description="ACR: incidental pancreatic cysts.")
    acr_liver_2017: bool = Field(True, description="ACR: incidental liver lesions on CT.")
    quality_measures: bool = Field(True, description="Measures of quality.")
