"""Widgets around a slider over λ, drawn in the browser: in Jupyter, in Colab and on the page.

`LambdaExplorer` shows panels along λ, computed before or in the browser; `Trainer` trains models there.
"""

from . import explorer, geometry, panels, trainer
from .explorer import *  # noqa: F403
from .geometry import *  # noqa: F403
from .panels import *  # noqa: F403
from .trainer import *  # noqa: F403
from .widget import compact_state

__all__ = [*explorer.__all__, *geometry.__all__, *panels.__all__, *trainer.__all__, "compact_state"]
