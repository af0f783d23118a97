"""dicomnlp: a DICOM receiver beside a PACS that answers with the findings its reports state."""

__version__ = "2026.1.0"
