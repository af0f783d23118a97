"""How this implementation names itself to DICOM peers."""

from typing import Final

IMPLEMENTATION_CLASS_UID: Final = "2.25.9831155616574538634672919936655073581"
"""Names this implementation to its peers (PS3.7 D.3.3.2); derived from a UUID (PS3.5 B.2)."""

IMPLEMENTATION_VERSION_NAME: Final = "DICOMNLP_2026_1"
"""At most 16 characters (PS3.7 D.3.3.2)."""
