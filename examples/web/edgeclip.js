// A bundle in the browser: its towers in onnxruntime-web, its tokenizer in JavaScript. No server sees a picture.
import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.bundle.min.mjs";
import { Tokenizer } from "./node_modules/@huggingface/tokenizers/dist/tokenizers.min.mjs";
import { decode, preprocess } from "./pixels.js";

ort.env.wasm.wasmPaths = new URL("./node_modules/onnxruntime-web/dist/", import.meta.url).href;
ort.env.wasm.numThreads = self.crossOriginIsolated ? navigator.hardwareConcurrency : 1;

async function fetched(url, kind) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${answer.statusText}`);
  return answer[kind]();
}

/** A softmax; with a bias (SigLIP) each label's own sigmoid. */
function probabilities(logits, bias) {
  if (bias != null) return logits.map((value) => 1 / (1 + Math.exp(-value - bias)));
  const odds = logits.map((value) => Math.exp(value - Math.max(...logits)));
  const total = odds.reduce((sum, value) => sum + value, 0);
  return odds.map((value) => value / total);
}

export class Bundle {
  /** Open the bundle at `url`; `precision` chooses the image tower, else the recommended one. */
  static async open(url, precision) {
    const folder = url.endsWith("/") ? url : `${url}/`;
    const manifest = await fetched(`${folder}bundle.json`, "json");
    const wanted = precision ?? manifest.recommended ?? manifest.fallback;
    const variant = manifest.variants.find((v) => v.precision === wanted);
    if (!variant) throw new Error(`the bundle holds no ${wanted} variant`);
    const session = async (file) => ort.InferenceSession.create(await fetched(folder + file, "arrayBuffer"));
    const [image, text, rules] = await Promise.all([
      session(variant.file), session(manifest.text.file), fetched(folder + manifest.tokenizer.file, "json"),
    ]);
    return new Bundle(manifest, wanted, image, text, new Tokenizer(rules, {}));
  }

  constructor(manifest, precision, image, text, tokenizer) {
    Object.assign(this, { manifest, precision, image, text, tokenizer });
  }

  /** L2-normalised embedding of a Blob, Float32Array [D]. */
  async encodeImage(blob) {
    const { size } = this.manifest.preprocess;
    const pixels = preprocess(await decode(blob, this.manifest.preprocess), this.manifest.preprocess);
    return this.#run(this.image, new ort.Tensor("float32", pixels, [1, 3, size, size]));
  }

  /** L2-normalised embedding of one text, Float32Array [D]. */
  async encodeText(text) {
    const { context_length: length } = this.manifest.tokenizer;
    const ids = BigInt64Array.from(this.tokenIds(text), BigInt);
    return this.#run(this.text, new ort.Tensor("int64", ids, [1, length]));
  }

  /** Token ids of one text, cut or padded to the context length. */
  tokenIds(text) {
    const { context_length: length, pad_id: pad, clean } = this.manifest.tokenizer;
    const straight = text.replace(/[\u02bc\u2018-\u201b]/g, "'").replace(/[\u201c-\u201f]/g, '"');
    const plain = straight.trim().replace(/\s+/g, " ");
    let { ids } = this.tokenizer.encode(clean === "whitespace" ? plain : plain.toLowerCase());
    if (ids.length > length) ids = [...ids.slice(0, length - 1), ids.at(-1)];
    return [...ids, ...Array(length - ids.length).fill(pad)];
  }

  /** Labels with their probabilities, the likeliest first. */
  async classify(blob, labels) {
    const image = await this.encodeImage(blob);
    const logits = [];
    for (const label of labels) {
      const text = await this.encodeText(label);
      logits.push(this.manifest.logit_scale * image.reduce((sum, value, i) => sum + value * text[i], 0));
    }
    const found = probabilities(logits, this.manifest.logit_bias);
    return labels.map((label, i) => ({ label, probability: found[i] })).sort((a, b) => b.probability - a.probability);
  }

  async #run(session, tensor) {
    const answer = await session.run({ [session.inputNames[0]]: tensor });
    return answer[session.outputNames[0]].data;
  }
}
