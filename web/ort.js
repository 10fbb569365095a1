export { InferenceSession, Tensor, env } from "onnxruntime-web/wasm";
