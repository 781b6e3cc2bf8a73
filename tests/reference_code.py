"""Machine code in the reference of the predictor: ``docs/arithmetic.md``, section 9, "Machine code"."""

from __future__ import annotations

from reference_counters import hashed

ONE_BYTE = (
    "mmmm14..mmmm14.e mmmm14..mmmm14.. mmmm14p.mmmm14p. mmmm14p.mmmm14p. "
    "rrrrrrrrrrrrrrrr ................ ..mmppop4w1n.... 1111111111111111 "
    "nwnnmmmmmmmmmmmm ................ ........14...... 11111111qqqqqqqq "
    "nn2.Vvnw3....1.. mmmm....mmmmmmmm 11111111cc.1.... p.pp..tT......mm"
).replace(" ", "")
TWO_BYTES = (
    "mmmmm.mmmmm.mmmm mmmmmmmmmmmmmmmm mmmmmmmmmmmmmmmm m.mmmmmmxmymmmmm "
    "mmmmmmmmmmmmmmmm mmmmmmmmmmmmmmmm mmmmmmmmmmmmmmmm nnnnmmm.mmmmmmmm "
    "cccccccccccccccc mmmmmmmmmmmmmmmm ...mnmmm..mmnmmm mmmmmmmmmmnmmmmm "
    "mmnmnnnm........ mmmmmmmmmmmmmmmm mmmmmmmmmmmmmmmm mmmmmmmmmmmmmmmm"
).replace(" ", "")
WITH_ADDRESS = bytes.fromhex("01 03 10 11 2b 39 3b 63 6f 80 83 85 89 8b 8d b6 b7 c6 c7")


class X86:
    """A reader of instructions, which is where ``expecting`` says: for one of "first", "second", "38", "3a", "vex 3",
    "vex 2", "modrm", "sib", "displacement" and "immediate"."""

    def __init__(self) -> None:
        self.history = 0
        self._start()

    def _start(self) -> None:
        self.expecting = "first"
        self.seen = self.opcode = self.modrm = self.left = self.immediate = 0
        self.wide = self.narrow = False

    def byte(self, b: int) -> None:
        """The next one."""
        if self.expecting in ("displacement", "immediate"):
            self.left -= 1
            if self.left == 0:
                self._operands() if self.expecting == "displacement" else self._end()
            return
        self.seen = hashed(self.seen * 256 + b + 1)
        if self.expecting == "first":
            self._first(b)
        elif self.expecting == "second" and TWO_BYTES[b] in "xy":
            self.expecting = {"x": "38", "y": "3a"}[TWO_BYTES[b]]
        elif self.expecting == "second":
            self._found(0x100 + b, TWO_BYTES[b])
        elif self.expecting in ("38", "3a"):
            self._found({"38": 0x200, "3a": 0x300}[self.expecting] + b, {"38": "m", "3a": "n"}[self.expecting])
        elif self.expecting in ("vex 3", "vex 2"):
            self.expecting = {"vex 3": "vex 2", "vex 2": "second"}[self.expecting]
        else:
            self._address(b)

    def _first(self, b: int) -> None:
        follows = ONE_BYTE[b]
        if follows == "r":
            self.wide = b & 8 != 0
        elif follows == "o":
            self.narrow = True
        elif follows in "evV":
            self.expecting = {"e": "second", "v": "vex 2", "V": "vex 3"}[follows]
        elif follows != "p":
            self._found(b, follows)

    def _found(self, opcode: int, follows: str) -> None:
        word = 2 if self.narrow else 4
        self.opcode = opcode
        sizes = {"1": 1, "2": 2, "3": 3, "4": word, "c": 4, "n": 1, "w": word, "q": 8 if self.wide else word}
        self.immediate = sizes.get(follows, 0)
        if follows in "mnwtT":
            self.expecting = "modrm"
        else:
            self._operands()

    def _address(self, b: int) -> None:
        if self.expecting == "sib":
            if self.modrm < 64 and b % 8 == 5:
                self.left = 4
        else:
            self.modrm = b
            if self.opcode in (0xF6, 0xF7) and b // 8 % 8 < 2:
                self.immediate = 1 if self.opcode == 0xF6 else 2 if self.narrow else 4
            self.left = 1 if b // 64 == 1 else 4 if b // 64 == 2 or (b // 64 == 0 and b % 8 == 5) else 0
            if b < 192 and b % 8 == 4:
                self.expecting = "sib"
                return
        self.expecting = "displacement"
        if self.left == 0:
            self._operands()

    def _operands(self) -> None:
        self.expecting, self.left = "immediate", self.immediate
        if self.left == 0:
            self._end()

    def _end(self) -> None:
        self.history = (self.history * 2**12 + self.opcode) % 2**32
        self._start()

    def kind(self) -> int:
        """Of the next byte."""
        if self.expecting == "first":
            return int(self.seen != 0)
        if self.expecting == "displacement":
            return 5 + self.left
        if self.expecting == "immediate":
            return 10 + min(self.left, 5)
        return {"modrm": 2, "sib": 3, "vex 2": 5, "vex 3": 5}.get(self.expecting, 4)

    def known(self) -> int:
        """The opcode's byte, or that of the one before until it is known."""
        return (self.history if self.expecting == "first" else self.opcode) % 256


def x86_absolute(code: bytes) -> bytes:
    """The addresses of a document made absolute, the last one first."""
    out = bytearray(code)
    for i in range(len(out) - 7, -1, -1):
        a, b = out[i], out[i + 1]
        place = 0
        if a in (0xE8, 0xE9):
            place = i + 1
        elif (a in WITH_ADDRESS and b & 0xC7 == 5) or (a == 255 and b in (0x15, 0x25)):
            place = i + 2
        if place and out[place + 3] in (0, 255):
            address = int.from_bytes(out[place : place + 3], "little") + place + 4
            out[place : place + 3] = (address % 2**24).to_bytes(3, "big")
    return bytes(out)


def arm_absolute(code: bytes) -> bytes:
    """The same of AArch64."""
    out = bytearray(code)
    for i in range(0, len(out) - 3, 4):
        word = int.from_bytes(out[i : i + 4], "little")
        if word >> 26 == 0x25:
            out[i : i + 4] = (0x25 << 26 | (word + i // 4) % 2**26).to_bytes(4, "little")
    return bytes(out)
