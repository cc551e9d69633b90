// The ops' library, and the Python module `earl._C` whose import loads it. The kernels register themselves.
#include <Python.h>

#include "schemas.h"

namespace earl {
bool cpu_multiplies(at::ScalarType type);
}

TORCH_LIBRARY(earl, m) {
  earl::define_ops(m);
  // Whether the CPU has matrix instructions for the type; where not, tiles of it are better multiplied in fp32.
  m.def("cpu_multiplies(ScalarType type) -> bool", &earl::cpu_multiplies);
}

PyMODINIT_FUNC PyInit__C() {
  static PyModuleDef module = {PyModuleDef_HEAD_INIT, "_C", "The compiled ops, under torch.ops.earl.", -1};
  return PyModule_Create(&module);
}
