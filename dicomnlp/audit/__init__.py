"""Who did what: a trail whose rows are chained by hashes, and DICOM audit messages (PS3.15 A.5) made of it."""
