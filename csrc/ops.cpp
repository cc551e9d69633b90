// Schemas of the ops, and the Python module `earl._C` whose import loads them. The kernels register themselves.
#include <Python.h>
#include <torch/library.h>

TORCH_LIBRARY(earl, m) {
  m.def(
      "token_logprob_entropy(Tensor logits, Tensor targets, float temperature) "
      "-> (Tensor logprob, Tensor entropy, Tensor logsumexp)");
  m.def(
      "token_logprob_entropy_backward(Tensor grad_logprob, Tensor grad_entropy, Tensor grad_logsumexp, Tensor logits, "
      "Tensor targets, Tensor logsumexp, Tensor entropy, float temperature) -> Tensor");
}

PyMODINIT_FUNC PyInit__C() {
  static PyModuleDef module = {PyModuleDef_HEAD_INIT, "_C", "The compiled ops, under torch.ops.earl.", -1};
  return PyModule_Create(&module);
}
