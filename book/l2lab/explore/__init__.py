"""The λ explorer: one slider over λ, panels drawn in the browser, in Jupyter, Colab and on the page.

`LambdaExplorer` takes a grid of λ and panels. Most panels hold numbers that were computed before, for all λ,
so that the browser only draws; `geometry_panel` and `budget_panel` are computed in the browser.
"""

from . import explorer, geometry, panels
from .explorer import *  # noqa: F403
from .geometry import *  # noqa: F403
from .panels import *  # noqa: F403

__all__ = [*explorer.__all__, *geometry.__all__, *panels.__all__]
