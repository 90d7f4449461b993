"""edgeclip: a teacher, unpaired images and sentences, and a device in; the student it can afford out.

One function a stage, in the room of its name::

    from edgeclip.device import profile
    from edgeclip.student import select
    from edgeclip.distill import distill
    from edgeclip.export import export
    from edgeclip.evaluate import evaluate
    from edgeclip.report import report
"""

__version__ = "0.1.0"
