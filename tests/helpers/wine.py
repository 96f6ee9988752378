"""Known data: the bitterness of eight bottles of wine, rated 1 … 5 by nine judges (Randall 1989; R's ordinal::wine)."""

from __future__ import annotations

import numpy as np

RATINGS = np.array(  # (judges, bottles)
    [
        [2, 3, 3, 4, 4, 4, 5, 5],
        [1, 2, 1, 3, 2, 3, 5, 4],
        [2, 3, 3, 2, 5, 5, 4, 4],
        [3, 2, 3, 2, 3, 2, 5, 3],
        [2, 3, 4, 3, 3, 3, 3, 3],
        [3, 2, 3, 2, 2, 4, 5, 4],
        [1, 1, 2, 2, 2, 3, 2, 3],
        [2, 2, 2, 3, 3, 3, 3, 4],
        [1, 2, 3, 2, 3, 2, 4, 4],
    ]
)
RATING = RATINGS.ravel()
JUDGE, BOTTLE = (index.ravel() for index in np.indices(RATINGS.shape))
WARM, CONTACT = (BOTTLE >= 4).astype(float), (BOTTLE % 4 >= 2).astype(float)
