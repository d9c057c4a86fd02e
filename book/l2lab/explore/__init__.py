"""The λ explorer: one slider over λ, panels drawn in the browser, in Jupyter, Colab and on the page.

`LambdaExplorer` takes a grid of λ and panels: `hist_panel`, `curves_panel`, `paths_panel`, `bars_panel`,
`fit_panel`, `field_panel` and `geometry_panel`. All numbers are computed before, for all λ; the browser only
draws.
"""

from .explorer import Control, LambdaExplorer, compact_state
from .fallback import lasso_2d, ridge_2d
from .panels import (
    PALETTE,
    Panel,
    bars_panel,
    curves_panel,
    field_panel,
    fit_panel,
    geometry_panel,
    hist_panel,
    paths_panel,
)

__all__ = [
    "PALETTE",
    "Control",
    "LambdaExplorer",
    "Panel",
    "bars_panel",
    "compact_state",
    "curves_panel",
    "field_panel",
    "fit_panel",
    "geometry_panel",
    "hist_panel",
    "lasso_2d",
    "paths_panel",
    "ridge_2d",
]
