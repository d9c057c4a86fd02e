"""The λ explorer: one slider over λ, panels drawn in the browser, in Jupyter, Colab and on the page.

`LambdaExplorer` takes a grid of λ and panels: `hist_panel`, `curves_panel`, `paths_panel`, `bars_panel`,
`fit_panel`, `field_panel` and `heatmap_panel`, whose numbers are computed before, for all λ, so that the
browser only draws; `geometry_panel` and `budget_panel` are so small that the browser computes them.
"""

from .explorer import Control, LambdaExplorer, compact_state
from .geometry import box_2d, lasso_2d, ridge_2d
from .panels import (
    PALETTE,
    Panel,
    bars_panel,
    budget_panel,
    curves_panel,
    field_panel,
    fit_panel,
    geometry_panel,
    heatmap_panel,
    hist_panel,
    paths_panel,
)

__all__ = [
    "PALETTE",
    "Control",
    "LambdaExplorer",
    "Panel",
    "bars_panel",
    "box_2d",
    "budget_panel",
    "compact_state",
    "curves_panel",
    "field_panel",
    "fit_panel",
    "geometry_panel",
    "heatmap_panel",
    "hist_panel",
    "lasso_2d",
    "paths_panel",
    "ridge_2d",
]
