"""A year of an invented radiology department, with everything in it that somebody ought to notice.

`wording` knows how its radiologists write, `course` what happens to its patients and what was planted there, `objects`
makes DICOM objects of it, `archive` is the PACS, `runs` the service beside it, `scores` compares what the service
noticed with what was planted. Nothing here looks at the rules of the service.
"""
