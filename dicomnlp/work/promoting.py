"""The duty of bringing the reports that are held to the pipeline that was promoted last."""

import time

from dicomnlp.store.database import Database
from dicomnlp.store.pipelines import combinations, unfinished_promotion
from dicomnlp.store.switching import bring_some

RUN_SECONDS = 3.0


class PromotionDuty:
    """Goes on with a promotion that nobody else finishes, because whoever asked for it was stopped or asked by HTTP."""

    name = "promotion"
    seconds = 5.0

    def __init__(self, database: Database) -> None:
        self._database = database

    def run(self) -> bool:
        """Bring some reports to the pipeline that counts; whether more are left."""
        promotion = unfinished_promotion(self._database)
        if promotion is None:
            return False
        pipelines = combinations(promotion.names.values())
        until = time.monotonic() + RUN_SECONDS
        while bring_some(self._database, promotion.id, pipelines):
            if time.monotonic() > until:
                return True
        return False
