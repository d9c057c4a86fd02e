"""The shell of Colab's kernel: a class of its own, by which libraries recognize Colab."""

from ipykernel.zmqshell import ZMQInteractiveShell


class Shell(ZMQInteractiveShell):
    """As on Colab, a subclass of the shell of ipykernel."""
