"""Small files that unpack to gigabytes, as pyarrow wrote them."""

from __future__ import annotations

import base64
import gzip
import io
import subprocess
import sys
import zipfile
from pathlib import Path

# 8,000 rows of `text`, all the same megabyte: 8 GB of 293 bytes.
TEXTS = base64.b85decode(
    "P(e~L6$BNCfPeuNdQ24p6#x<d04TLD{eVaW01yCd001Ze01yCp0RZ^_InV+E01$Wr01$Wr01$Wr01$Wr01$Wr01$"
    "Wr01$W~004M+cz6{66&4jJEERx#6%Z8$6$Tst001bpFa013SpWb70001heE|W0eE<~%87wsb7zT4=Xk~3-6#@Vi3"
    "?%{>1axJ1bR_^x8~^|S7Jz*j92p!Y02~zz88rX~5E&Q*bY*yS6$}=DeHQ3|fB_cl0VbpYCI~4k6$BLk6#@Vi02L4"
    "w0suS~fPjF&J{blXCIEna0000M=zxF$7Jz*w2o~%C04N}EVRCVGWppiLaBwYQa&m8XAa-SPb7^mGATl;CFfK6}92"
    "@`u0HXi^08l|vF#"
)

# A contexts table of one unit: 3,000 rows of twenty tokens of 32 kB: 1.9 GB of 1,018 bytes.
CONTEXTS = base64.b85decode(
    "P(e~L6$BLu6&y?z0u=xf001bpFa00|DF6Tg0000n6#x|$6(}qf@Gcb)6$TXs8~^|SD77#BAPZRl00RI30PrpW0q`"
    "yW6$BLu6&y?z0u=xf001bpFa00|DF6Tg0001H6#x|$6(}qf@Gcb)6$TXs8~^|SD77#BAPZRl00RI30PrpW0q`yW6"
    "$BL!6(UR(0u=xf001bpFa010K>z>&000000000L02LM$C@dB5E)@_J1{DSz0000ewJ-f33t0dF0{{R3@Gb!X@Gbx"
    "q1Qm#Y1Qjey6#^9i5&!@wwJ-f(1b<}!04M-}004Ob0Q~<Bv=smq;=2JAPAnC`sRtDh6$TXs8~^|SD77#BVDT;O00"
    "5}qE&u=n{uluS0002MsRsiAz^MlS0RY)<-f;mH1QiGs8cY=e6#x<d04TLD{U8J(00000fIk%g72>-A6;3P_z^Mln"
    "5ETX$1{?qY04TLD{b2De?EnC%;4T0F1O6BR1ONa4z^MlV0l=vT0098mZr*VL6$BZqH2@d}b7N>_ZDAD(02K@+0vH"
    "5!ZfSHS08AVJ000#XB?1@*b8mHWV`U`(OdJ3J02Kr!0vHElZ*FvDcys_Y0vHB#Z);_4a}@#=224Bv001=v7zAu-b"
    "95B~02K@+0vHEnY-Md_ZgeF8OdJ3J05t*_3t?k)X?9_BX>V?G6#^9oOgsPp05t>{1Z-(@bQJ;s6$m8)7zbr+Wo>0"
    "{bO09cE*TsdTqXb<6$}|Q00s~l7zA~0X>=6~7Vs_>WEO}4CO{?#DJ&HP6#x|i02Kfg5ETLdJQnaS83q|90PrpV00"
    "1Tc92E>1H2?+>85jn0Z*_8GWfcq-@Gcf)7Ki~R$N?sh0VymM1Qh@k0ss{N6%Z8y06Z4(E*S<HCIIj*0000c02~zr"
    "88rX~5E&Q;V{dMBWq5QI3>NS%7HSrb0VdW0CYS;#EENP502KlN6#x|w6#@V}DFzuP0PrpV001Tc92E>1H2?+>88`"
    "-XZ);_4a|CQ@b94t~Y-Md_Zgdq47Qm?o7P!0x7RUi6@&hKO11T&O1Qh@k0ss{N6%Z8y06Z3efPm8u87A;9(E0`$M"
    "gRZ+z^MlS001Tc92E!|H2?+>88{1JV{~bDVRUJ4ZgT`|X>)W3Wo%__Wo~p83>Ltt2Ntxv0T!|WCZq)>?gS|;6$BL"
    "k6#@Vi02L4w0suTICh#uM`UV+B0002MsRsZ602ZG61{UxxCI}Xo1^_4^aA9(Bb!BudV{mXSVRCYBcOZ6Ua&u{KZX"
    "hx?E-)@J8C)Cy02}}S8~^|u000~S003eF002-yQZW"
)


def gzipped_lines(line: bytes, megabytes: int) -> bytes:
    """Return gzip of so many megabytes of a line again and again, quickly made: in members."""
    member = gzip.compress(line * (2**24 // len(line)), 1)
    return member * (megabytes // 16)


def zipped(name: str, head: bytes, megabytes: int) -> bytes:
    """Return a zip archive of one file that unpacks to so many megabytes of zeros."""
    file = io.BytesIO()
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(name, "w") as inner,
    ):
        inner.write(head)
        for _ in range(megabytes):
            inner.write(bytes(2**20))
    return file.getvalue()


def peak_of(code: str, *arguments: Path) -> tuple[str, int]:
    """Return what a process of its own prints, and its peak memory in MB.

    Linux counts to `ru_maxrss` what the process had before `exec`, the parent's memory: VmHWM not.
    """
    measured = f"{code}\nfor line in open('/proc/self/status'):\n    if line[:6] == 'VmHWM:':\n"
    measured += "        print(line.split()[1])\n"
    command = [sys.executable, "-c", measured, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    *said, peak = done.stdout.strip().splitlines()
    return "\n".join(said), int(peak) // 1024
