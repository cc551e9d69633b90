// The ops' library, and the Python module `earl._C` whose import loads it. The kernels register themselves.
#include <Python.h>

#include "schemas.h"

TORCH_LIBRARY(earl, m) { earl::define_ops(m); }

PyMODINIT_FUNC PyInit__C() {
  static PyModuleDef module = {PyModuleDef_HEAD_INIT, "_C", "The compiled ops, under torch.ops.earl.", -1};
  return PyModule_Create(&module);
}
