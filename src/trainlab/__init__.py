"""trainlab: does this training trick actually help, and how do I show it?"""

__version__ = "0.1.0"
