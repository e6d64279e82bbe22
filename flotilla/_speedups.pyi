# The functions of the compiled module have the types of their twins.
from flotilla.speedups.pure.frames import framed as framed
from flotilla.speedups.pure.frames import framed_lines as framed_lines
from flotilla.speedups.pure.frames import publication_push as publication_push
from flotilla.speedups.pure.frames import unmask as unmask
from flotilla.speedups.pure.frames import whole_frames as whole_frames
from flotilla.speedups.pure.frames import whole_text as whole_text
from flotilla.speedups.pure.resp import pack as pack
from flotilla.speedups.pure.resp import read_publication as read_publication
from flotilla.speedups.pure.sends import send_to_all as send_to_all
