/* The part of CPython's stable ABI that a module written by cffi uses, and no more.
 *
 * Why this file exists: a bundle is compiled for processors other than the one at hand, on machines that may have no Python
 * headers at all, and must come out the same everywhere. The headers of an installed Python differ between versions, vendors and
 * processors (pyconfig.h); the stable ABI, by contrast, is documented and promised for every CPython from 3.11 on. So these
 * declarations are written from that documentation (https://docs.python.org/3/c-api/stable.html), with Py_LIMITED_API meaning
 * 3.11: objects are opaque, reference counts change only through functions.
 *
 * If a later cffi needs a name that is not here, the compiler says so; add its declaration from the documentation.
 */
#ifndef GLAS_PYTHON_ABI_H
#define GLAS_PYTHON_ABI_H

#ifndef Py_LIMITED_API
#error "this header describes the limited API only; compile with -DPy_LIMITED_API=0x030b0000"
#endif

#define PY_VERSION_HEX 0x030b0000
#define HAVE_WCHAR_H 1

#include <alloca.h>
#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <wchar.h>

typedef ssize_t Py_ssize_t;
typedef struct _object PyObject;
typedef PyObject *(*PyCFunction)(PyObject *self, PyObject *args);

/* The one symbol that the dynamic linker must see: everything else is compiled with hidden visibility. */
#define PyMODINIT_FUNC __attribute__((visibility("default"))) PyObject *

/* Objects live and die in the interpreter; both functions accept NULL. */
void Py_IncRef(PyObject *object);
void Py_DecRef(PyObject *object);
#define Py_INCREF(object) Py_IncRef((PyObject *)(object))
#define Py_DECREF(object) Py_DecRef((PyObject *)(object))
#define Py_XINCREF(object) Py_IncRef((PyObject *)(object))
#define Py_XDECREF(object) Py_DecRef((PyObject *)(object))

extern PyObject _Py_NoneStruct;
#define Py_None (&_Py_NoneStruct)

/* Memory, errors, imports, calls */
void *PyObject_Malloc(size_t size);
void PyObject_Free(void *memory);
PyObject *PyErr_Occurred(void);
__attribute__((noreturn)) void Py_FatalError(const char *message);
PyObject *PyImport_ImportModule(const char *name);
PyObject *PyObject_CallMethod(PyObject *object, const char *name, const char *format, ...);
int PyArg_UnpackTuple(PyObject *tuple, const char *function, Py_ssize_t least, Py_ssize_t most, ...);

/* Numbers */
PyObject *PyBool_FromLong(long value);
PyObject *PyFloat_FromDouble(double value);
double PyFloat_AsDouble(PyObject *object);
PyObject *PyLong_FromLong(long value);
PyObject *PyLong_FromUnsignedLong(unsigned long value);
PyObject *PyLong_FromLongLong(long long value);
PyObject *PyLong_FromUnsignedLongLong(unsigned long long value);
PyObject *PyLong_FromVoidPtr(void *pointer);

/* cffi gives the interpreter lock away around each C call. Here it is kept: a call of the core neither blocks nor waits and mostly takes
 * a few microseconds, but each hand-over wakes another thread, which costs more than ten times that (docs/performance.md). */
#define Py_BEGIN_ALLOW_THREADS {
#define Py_END_ALLOW_THREADS }

#endif
