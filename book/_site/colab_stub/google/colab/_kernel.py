"""The kernel of Colab."""

from ipykernel.ipkernel import IPythonKernel

from . import _shell


class Kernel(IPythonKernel):
    """A kernel with the shell of Colab."""

    def _shell_class_default(self) -> type:
        return _shell.Shell
