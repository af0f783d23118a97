"""What the associations of a process share, and what of it another configuration changes while they go on."""

from typing import TYPE_CHECKING, Final

from dicomnlp.config import Settings
from dicomnlp.receive.association_trail import AssociationTrail
from dicomnlp.receive.commitment import Commitments
from dicomnlp.receive.intake import Intake
from dicomnlp.receive.places import FREE_BYTES, Allowance, Places, give_back_large_blocks
from dicomnlp.receive.policy import AlertLog, Policy
from dicomnlp.receive.reasons import Reason
from dicomnlp.receive.tls import server_context
from dicomnlp.receive.traffic import Traffic

if TYPE_CHECKING:
    import ssl

ALLOWANCE_SECONDS: Final = 10.0
"""For others to be done with their large objects; after that one is refused."""


class House:
    """What the associations of a process share.

    Parameters
    ----------
    settings
        AE titles, peers, certificates, and bounds on associations and objects.
    intake
        Takes the objects.
    traffic
        Counts associations and objects.
    trail
        Records associations.

    Raises
    ------
    ConfigurationError
        The certificates can't be used.
    """

    def __init__(self, settings: Settings, intake: Intake, traffic: Traffic, trail: AssociationTrail) -> None:
        self.intake = intake
        self.traffic = traffic
        self.trail = trail
        self.places = Places(settings.listener)
        give_back_large_blocks()
        # memory for one of the largest objects while they come in, and for the copy of one
        self.allowance = Allowance(settings.listener.maximum_object_bytes + FREE_BYTES, ALLOWANCE_SECONDS)
        self.alerts = AlertLog(trail.alert)
        self.is_stopping = False
        """No further association is accepted."""
        self.tls: ssl.SSLContext | None = None
        """None when no address speaks TLS."""
        self.reconfigure(settings)

    def reconfigure(self, settings: Settings) -> None:
        """Put other settings into effect, for connections that are accepted from now on.

        Raises
        ------
        ConfigurationError
            The certificates can't be used; nothing has changed.
        """
        tls = server_context(settings)
        self.settings = settings
        self.policy = Policy(settings)
        self.commitments = Commitments(self.trail.database, settings)
        # addresses stay as they were bound: where none is to speak TLS any more, those that do go on as they were
        self.tls = tls or self.tls
        self.places.reconfigure(settings.listener)
        self.traffic.know(peer.ae_title for peer in settings.peers)

    def hindrance(self) -> str | None:
        """Why no association can be accepted for the time being, whoever asks; None: nothing is in the way."""
        return Reason.SERVICE_STOPPING.answer[1] if self.is_stopping else self.intake.hindrance
