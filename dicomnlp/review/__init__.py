"""What a second reader would notice: follow-up that is owed, statements that contradict each other, guidance unheeded.

Pure functions over the records of `model`: no database and no network. What decides is data (TOML beside the code,
checked when it is loaded, each rule with its source); what comes out says which rule and which facts led to it.
"""
