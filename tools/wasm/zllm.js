// Reads .zllm archives by zllm.wasm (csrc/wasm/exports.c), in a page and in node. Nothing is read or sent by itself.
"use strict";

const zllm = (() => {
  const END = 19; // ZLLM_END
  const KINDS = ["file", "hard link", "symbolic link", "device", "device", "folder", "pipe", "other", "raw"];
  const TEXT = new TextDecoder("utf-8"); // a name that is not UTF-8 is shown with replacement characters

  class ZllmError extends Error {
    constructor(message, result) {
      super(message);
      this.result = result;
    }
  }

  // The system calls that the C library is linked with: time, and nothing else that does anything.
  function system(decoder) {
    const view = () => new DataView(decoder.memory.buffer);
    const refused = () => 52; // ENOSYS
    return {
      clock_time_get(id, precision, at) {
        view().setBigUint64(at, BigInt(Date.now()) * 1000000n, true);
        return 0;
      },
      fd_close: refused,
      fd_seek: refused,
      fd_write: refused,
      poll_oneoff: refused,
      sched_yield: () => 0,
    };
  }

  // One instance of the module: one archive at a time.
  class Decoder {
    // `wasm`: the bytes of zllm.wasm.
    static async load(wasm) {
      const decoder = new Decoder();
      const write = (at, size) => decoder.sink(decoder.copy(at, size));
      const imports = { wasi_snapshot_preview1: system(decoder), zllm: { write } };
      const { instance } = await WebAssembly.instantiate(wasm, imports);
      decoder.c = instance.exports;
      decoder.memory = instance.exports.memory;
      decoder.c._initialize();
      return decoder;
    }

    copy(at, size) {
      return new Uint8Array(this.memory.buffer, at, size).slice();
    }

    text(at, size) {
      if (size === undefined) size = new Uint8Array(this.memory.buffer, at).indexOf(0);
      return TEXT.decode(this.copy(at, size));
    }

    place(bytes) {
      const at = this.c.zllm_new(bytes.length) >>> 0;
      if (at === 0) throw new ZllmError("out of memory");
      new Uint8Array(this.memory.buffer, at, bytes.length).set(bytes);
      return at;
    }

    check(result) {
      if (result !== 0) throw new ZllmError(this.text(this.c.zllm_error() >>> 0), result);
    }

    // A model's file, for archives that need it and do not contain it.
    addModel(bytes) {
      if (this.c.zllm_add_model(this.place(bytes), bytes.length) !== 0) throw new ZllmError("too many models");
    }

    open(bytes) {
      this.close();
      this.archive = this.place(bytes);
      this.check(this.c.zllm_open(this.archive, bytes.length));
    }

    close() {
      this.c.zllm_close();
      if (this.archive) this.c.zllm_delete(this.archive);
      this.archive = 0;
    }

    // Models that the archive needs: [{name, sha256, size, embedded}].
    needs() {
      const found = [];
      for (let i = 0; ; i++) {
        const result = this.c.zllm_needs(i);
        if (result === END) return found;
        this.check(result);
        const hash = this.copy(this.c.zllm_needs_hash(), 32);
        found.push({
          name: this.text(this.c.zllm_needs_name()),
          sha256: Array.from(hash, (one) => one.toString(16).padStart(2, "0")).join(""),
          size: Number(this.c.zllm_needs_size()),
          embedded: this.c.zllm_needs_embedded() !== 0,
        });
      }
    }

    member() {
      const c = this.c;
      return {
        name: this.text(c.zllm_name(), c.zllm_name_size()),
        link: this.text(c.zllm_link(), c.zllm_link_size()),
        kind: KINDS[c.zllm_kind()],
        mode: c.zllm_mode(),
        size: Number(BigInt.asUintN(64, c.zllm_size())),
        mtime: Number(c.zllm_mtime()),
        place: c.zllm_place(),
      };
    }

    // All members, in order. Where the archive is damaged, throws behind the last one that was given.
    *members() {
      this.check(this.c.zllm_seek(0n));
      for (;;) {
        const result = this.c.zllm_next();
        if (result === END) return;
        this.check(result);
        yield this.member();
      }
    }

    // The data of a member.
    read(member) {
      this.check(this.c.zllm_seek(member.place));
      this.check(this.c.zllm_next());
      const pieces = [];
      for (;;) {
        this.check(this.c.zllm_read());
        const size = this.c.zllm_piece_size();
        if (size === 0) return joined(pieces);
        pieces.push(this.copy(this.c.zllm_piece(), size));
      }
    }

    // The tar stream, byte for byte.
    tar() {
      const pieces = [];
      this.sink = (piece) => (pieces.push(piece), 0);
      this.check(this.c.zllm_tar());
      return joined(pieces);
    }

    // What is wrong with the archive: lines, none if everything is right.
    verify() {
      const result = this.c.zllm_verify();
      const lines = this.text(this.c.zllm_reports() >>> 0).split("\n").slice(0, -1);
      return result !== 0 && lines.length === 0 ? [this.text(this.c.zllm_error() >>> 0)] : lines;
    }
  }

  function joined(pieces) {
    const out = new Uint8Array(pieces.reduce((sum, one) => sum + one.length, 0));
    let at = 0;
    for (const piece of pieces) {
      out.set(piece, at);
      at += piece.length;
    }
    return out;
  }

  return { Decoder, ZllmError };
})();

if (typeof module !== "undefined") module.exports = zllm;
