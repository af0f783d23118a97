"""Documents as DICOM objects: Basic Text and Enhanced SR, images of two by two pixels, and one that is damaged."""

import io
from functools import cache

from pydicom import uid
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset

from department.records import ROOT_UID, Document
from department.wording import exams, words

IMAGE_STORAGE = {
    "CT": uid.CTImageStorage,
    "DX": uid.DigitalXRayImageStorageForPresentation,
    "MG": uid.DigitalMammographyXRayImageStorageForPresentation,
    "MR": uid.MRImageStorage,
    "US": uid.UltrasoundImageStorage,
}
SOP_CLASSES = (uid.BasicTextSRStorage, uid.EnhancedSRStorage, uid.EncapsulatedCDAStorage, *IMAGE_STORAGE.values())
DAMAGED = b'<ClinicalDocument xmlns="urn:hl7-org:v3"><title>'
ADDENDUM = "55107-7 LN Addendum Document"
REPORT = "18748-4 LN Diagnostic imaging report"


def encoded(document: Document) -> bytes:
    """The document as a DICOM file (PS3.10 7.1)."""
    dataset = _dataset(document)
    written = io.BytesIO()
    dataset.save_as(written, enforce_file_format=True)
    return written.getvalue()


def _dataset(document: Document) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class_uid(document)
    meta.MediaStorageSOPInstanceUID = uid.UID(document.sop_instance_uid)
    meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    # pydicom's own would change the bytes with its version
    meta.ImplementationClassUID = uid.UID(ROOT_UID)
    meta.ImplementationVersionName = "DICOMNLP_YEAR"
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128, is_implicit_VR=False)
    _add_header(dataset, document)
    if document.is_image:
        _add_pixels(dataset, document)
    elif document.route == "damaged":
        dataset.MIMETypeOfEncapsulatedDocument = "text/XML"
        dataset.EncapsulatedDocument = DAMAGED
    else:
        _add_document(dataset, document)
        _add_content(dataset, document)
    return dataset


def sop_class_uid(document: Document) -> uid.UID:
    """What it is stored as."""
    if document.is_image:
        return IMAGE_STORAGE[exams()[document.exam]["modality"]]
    if document.route == "damaged":
        return uid.EncapsulatedCDAStorage
    return uid.EnhancedSRStorage if document.coded else uid.BasicTextSRStorage


def _add_header(dataset: Dataset, document: Document) -> None:
    """Patient, General Study, series and equipment (PS3.3 C.7)."""
    patient, exam = document.patient, exams()[document.exam]
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = sop_class_uid(document)
    dataset.SOPInstanceUID = document.sop_instance_uid
    dataset.PatientName, dataset.PatientID = f"YEAR^{patient.number}", patient.patient_id
    dataset.IssuerOfPatientID = "DICOMNLP YEAR"
    dataset.PatientBirthDate, dataset.PatientSex = f"{patient.birth_date:%Y%m%d}", patient.sex
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = document.study_instance_uid, document.series_instance_uid
    dataset.StudyID, dataset.AccessionNumber = str(document.study), document.accession_number
    dataset.StudyDescription, dataset.ReferringPhysicianName = document.description, ""
    dataset.StudyDate = dataset.ContentDate = f"{document.day:%Y%m%d}"
    dataset.StudyTime = "060000"
    dataset.ContentTime = f"{document.minutes // 60 % 24:02}{document.minutes % 60:02}00"
    dataset.Modality = exam["modality"] if document.is_image else "DOC" if document.route == "damaged" else "SR"
    dataset.SeriesNumber, dataset.InstanceNumber = document.number, 1
    dataset.Manufacturer, dataset.InstitutionName = "dicomnlp", "YEAR HOSPITAL"
    dataset.BodyPartExamined = exam["body_part"]


def _add_pixels(dataset: Dataset, document: Document) -> None:
    """The least that is an image (PS3.3 C.7.6.3), with its side where it has one."""
    if document.sided:
        dataset.Laterality = dataset.ImageLaterality = document.sided
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows = dataset.Columns = 2
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PixelData = bytes(4)


def _add_document(dataset: Dataset, document: Document) -> None:
    """State, order and evidence: SR Document General module (PS3.3 C.17.2)."""
    dataset.CompletionFlag = "PARTIAL" if document.preliminary else "COMPLETE"
    dataset.VerificationFlag = "UNVERIFIED" if document.preliminary else "VERIFIED"
    dataset.PreliminaryFlag = "PRELIMINARY" if document.preliminary else "FINAL"
    if not document.preliminary:
        observer = Dataset()
        observer.VerifyingOrganization = "YEAR HOSPITAL"
        observer.VerificationDateTime = dataset.ContentDate + dataset.ContentTime
        observer.VerifyingObserverName = "YEAR^READER"
        observer.VerifyingObserverIdentificationCodeSequence = []
        dataset.VerifyingObserverSequence = [observer]
    dataset.ReferencedPerformedProcedureStepSequence = []
    dataset.PerformedProcedureCodeSequence = []
    request = Dataset()
    request.StudyInstanceUID, request.ReferencedStudySequence = dataset.StudyInstanceUID, []
    request.AccessionNumber = document.accession_number
    request.PlacerOrderNumberImagingServiceRequest = request.FillerOrderNumberImagingServiceRequest = ""
    request.RequestedProcedureID = document.accession_number
    request.RequestedProcedureDescription = document.description
    request.RequestedProcedureCodeSequence = []
    dataset.ReferencedRequestSequence = [request]
    # the images that were read: of the study, in a series of their own
    image = IMAGE_STORAGE[exams()[document.exam]["modality"]]
    dataset.CurrentRequestedProcedureEvidenceSequence = [
        _reference(document, f"{document.series_instance_uid}.1", image, f"{document.study_instance_uid}.1")
    ]
    if document.predecessor is not None:
        before = document.uid_of(document.predecessor)
        series = f"{document.series_instance_uid.rpartition('.')[0]}.{document.predecessor}"
        dataset.PredecessorDocumentsSequence = [_reference(document, series, uid.BasicTextSRStorage, before)]


def _reference(document: Document, series: str, sop_class: str, instance: str) -> Dataset:
    """Hierarchical SOP Instance Reference macro (PS3.3 C.17.2.1)."""
    reference, of_series, item = Dataset(), Dataset(), Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = sop_class, instance
    of_series.SeriesInstanceUID, of_series.ReferencedSOPSequence = series, [reference]
    item.StudyInstanceUID, item.ReferencedSeriesSequence = document.study_instance_uid, [of_series]
    return item


def _add_content(dataset: Dataset, document: Document) -> None:
    """The content tree (PS3.3 C.17.3) in one of the ways that are met."""
    common = words(document.patient.language)
    dataset.ValueType, dataset.ContinuityOfContent = "CONTAINER", "SEPARATE"
    dataset.ConceptNameCodeSequence = [_code(REPORT)]
    language = _item("HAS CONCEPT MOD", "CODE", "121049 DCM Language of Content Item and Descendants")
    language.ConceptCodeSequence = [_code(common["language"])]
    titles = {**common["titles"], "addendum": ADDENDUM}
    items = []
    if document.layout == "one":
        whole = _item("CONTAINS", "TEXT", titles["findings"] if len(document.sections) > 1 else titles["addendum"])
        whole.TextValue = "\r\n\r\n".join(
            f"{heading}:\r\n{text}".replace("\n", "\r\n").replace("\r\r", "\r")
            for _, heading, text in document.sections
        )
        items.append(whole)
    for kind, _, text in document.sections if document.layout != "one" else ():
        prose = _item("CONTAINS", "TEXT", titles[kind])
        prose.TextValue = text.replace("\n", "\r\n")
        if document.layout == "containers":
            container = _item("CONTAINS", "CONTAINER", titles[kind])
            container.ContinuityOfContent, container.ContentSequence = "SEPARATE", [prose]
            prose = container
        items.append(prose)
    for concept, millimetres in document.coded:
        number = _item("CONTAINS", "NUM", " ".join(concept))
        value = Dataset()
        value.NumericValue = f"{millimetres:g}"
        value.MeasurementUnitsCodeSequence = [_code("mm UCUM millimeter")]
        number.MeasuredValueSequence = [value]
        items.append(number)
    dataset.ContentSequence = [language, *items]


def _item(relationship: str, value_type: str, concept: str) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType = relationship, value_type
    item.ConceptNameCodeSequence = [_code(concept)]
    return item


@cache
def _code(written: str) -> Dataset:
    """From "value scheme meaning"."""
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = written.split(" ", 2)
    return code
