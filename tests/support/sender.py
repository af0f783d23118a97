"""A sender as a process of its own: sends numbered reports until each is acknowledged, whatever becomes of the peer.

python -m support.sender PORT FIRST STOP STEP

Prints the number of a report once its 0x0000 has come. A process rather than a thread, because pynetdicom leaves
sockets unclosed when nobody answers, which the tests' own strictness about warnings must keep finding elsewhere.
"""

import sys
import time

from pynetdicom import AE
from support.service import BASIC_TEXT_SR, make_report

from dicomnlp.export.reactor import hold_reactor

TEXT = "FINDINGS: Right upper lobe nodule of {size} mm. No pleural effusion.\nIMPRESSION: Nodule."


def main(port, first, stop, step):
    """Send all; returns when all are acknowledged."""
    waiting = list(range(first, stop, step))
    ae = AE(ae_title="SENDER")
    ae.add_requested_context(BASIC_TEXT_SR, "1.2.840.10008.1.2.1")
    while waiting:
        association = ae.associate("127.0.0.1", port, ae_title="DICOMNLP")
        hold_reactor(association)
        while waiting and association.is_established:
            number = waiting[0]
            try:
                status = association.send_c_store(make_report(number, TEXT.format(size=number % 30 + 3)))
            except (RuntimeError, ValueError):  # the association went away under it
                break
            if "Status" not in status or status.Status != 0x0000:
                break
            sys.stdout.write(f"{waiting.pop(0)}\n")
            sys.stdout.flush()
        if association.is_established:
            association.release()
        elif waiting:
            time.sleep(0.1)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
