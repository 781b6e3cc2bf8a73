// unzllm by zllm.wasm: node unzllm.js [-l | -t] [--model FILE.zlm]... ARCHIVE.zllm
// Without an option the tar stream goes to stdout. ZLLM_WASM: the module, if it is not beside this file. Exit codes: 0, 2.
"use strict";

const fs = require("fs");
const path = require("path");
const zllm = require("./zllm.js");

async function main(words) {
  let mode = "";
  const models = [];
  while (words.length > 1) {
    const word = words.shift();
    if (word === "-l" || word === "-t") mode = word;
    else if (word === "--model") models.push(words.shift());
    else throw new Error("usage: node unzllm.js [-l | -t] [--model FILE.zlm]... ARCHIVE.zllm");
  }
  const wasm = process.env.ZLLM_WASM || path.join(__dirname, "zllm.wasm");
  const decoder = await zllm.Decoder.load(fs.readFileSync(wasm));
  for (const model of models) decoder.addModel(fs.readFileSync(model));
  decoder.open(fs.readFileSync(words[0]));
  if (mode === "-l") for (const one of decoder.members()) console.log(one.name);
  else if (mode === "-t") {
    const problems = decoder.verify();
    if (problems.length > 0) throw new Error(problems.join("\n"));
  } else fs.writeSync(1, decoder.tar());
}

main(process.argv.slice(2)).catch((error) => {
  console.error(`unzllm: ${error.message}`);
  process.exitCode = 2;
});
