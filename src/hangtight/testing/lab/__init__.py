"""A real HTTP server that misbehaves on request: the model name is the script.

>>> from hangtight.testing.lab import Lab
>>> with Lab() as lab:                      # doctest: +SKIP
...     ask(lab.url, model="mistral-7b,tokens=20,mute=5")
...     assert lab.settled("mistral-7b,tokens=20,mute=5").cancelled == 1
"""

from hangtight.testing.lab.counts import Counts
from hangtight.testing.lab.lab import Lab, serve
from hangtight.testing.lab.script import Script, ScriptError
from hangtight.testing.lab.words import text_of

__all__ = ["Counts", "Lab", "Script", "ScriptError", "serve", "text_of"]
