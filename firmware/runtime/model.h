/**
 * What the parts of the runtime share: the parsed container, the interpreter's state,
 * and views of memory.
 *
 * Facts: nncase 1.9's model.h and module_builder.cpp; all fields little-endian.
 */
#ifndef KM_MODEL_H
#define KM_MODEL_H

#include "kmodel.h"
#include "reader.h"

/** Where a range lies, with the numbers nncase gives the places. */
enum km_location {
    KM_INPUT = 0,
    KM_OUTPUT = 1,
    KM_RDATA = 2,
    KM_DATA = 3,
    KM_KPU = 64,
};

enum { KM_STACK = 256, KM_PADDINGS = 8, KM_FUNCTIONS = 1024 };

/** Shape registers: nncase's calls take two for each argument, all else the first 7. */
enum { KM_REGISTERS = 2 * 2 * KMODEL_MAX_TENSORS };

/** Entries of quantize's memory of results, a power of two. */
enum { KM_MEMO = 2048 };

/** `size` bytes from byte `start` of a location. */
struct km_range {
    uint8_t location;
    uint8_t type;
    uint32_t start;
    uint32_t size;
};

/** An input or output of a function. */
struct km_tensor {
    struct km_range range;
    uint32_t rank;
    uint32_t shape[KMODEL_MAX_RANK];
};

/** A function: what it takes and gives, and its code in the module's .text. */
struct km_function {
    uint32_t input_pool;
    uint32_t output_pool;
    uint32_t inputs;
    uint32_t outputs;
    uint32_t entrypoint;
    uint32_t text_size;
    struct km_tensor input[KMODEL_MAX_TENSORS];
    struct km_tensor output[KMODEL_MAX_TENSORS];
};

/** A module; offsets are of the file. */
struct km_module {
    uint32_t first_function;
    uint32_t functions;
    uint32_t data_pool;
    uint32_t rdata;
    uint32_t rdata_size;
    uint32_t text;
    uint32_t text_size;
};

/** What a stack slot holds: an integer, a float, or an address. */
enum km_kind { KM_INTEGER, KM_FLOAT, KM_ADDRESS };

/** A stack slot. */
struct km_value {
    uint8_t kind;
    uint8_t location;
    union {
        int32_t integer;
        float real;
        uint32_t offset;
    };
};

/** A shape register: a shape, strides, axes, …; rank is -1 when it was never set. */
struct km_register {
    int32_t rank;
    int32_t value[KMODEL_MAX_RANK];
};

/** Elements added before, after and between those of a dimension; negative crops. */
struct km_padding {
    int32_t before;
    int32_t after;
    int32_t interior;
};

/** A padding register; rank is -1 when it was never set. */
struct km_paddings {
    int32_t rank;
    struct km_padding value[KMODEL_MAX_RANK];
};

/** The interpreter and all it knows; lives in kmodel.private_. */
struct km_state {
    const uint8_t *image;
    uint32_t size;
    uint32_t error_offset;
    uint64_t work;
    uint32_t kpu_ram;
    bool has_k210;
    struct km_module stackvm;
    struct km_module k210;
    uint32_t k210_number; /* its place in the file */
    struct km_function entry;
    struct km_function callee;
    uint32_t called[KM_FUNCTIONS / 32];
    uint32_t op_index;
    uint32_t depth;
    struct km_value stack[KM_STACK];
    struct km_register shapes[KM_REGISTERS];
    struct km_paddings paddings[KM_PADDINGS];
    /* While an inference runs; run is NULL while the model is only checked. */
    const struct kmodel_run *run;
    uint8_t *data;      /* of stackvm */
    uint8_t *k210_data; /* of k210 */
    uint8_t *tables;    /* clean copies of batch norm and activation tables */
    uint32_t *memo;     /* KM_MEMO entries */
};

/** An input of a k210 function, as it is bound by a call. */
struct km_argument {
    const uint8_t *data; /* NULL while the model is only checked */
    uint32_t strides[KMODEL_MAX_RANK];
};

/** Strided elements in memory; data is NULL while the model is only checked. */
struct km_view {
    uint8_t *data;
    uint8_t type;
    uint32_t rank;
    uint32_t shape[KMODEL_MAX_RANK];
    uint32_t strides[KMODEL_MAX_RANK];
};

/** The interpreter of a model. */
static inline struct km_state *km_state(struct kmodel *model) {
    return (struct km_state *)model->private_;
}

/** Bytes of an element, 0 for an unknown type. */
uint32_t km_type_size(uint32_t type);

/** Product of a shape, at most UINT64_MAX, which stands for anything above. */
uint64_t km_product(const uint32_t *shape, uint32_t rank);

/** Row-major strides of a dense tensor; its product must fit 32 bits. */
void km_dense_strides(const uint32_t *shape, uint32_t rank, uint32_t *strides);

/** Elements from the first to the last of a strided view, at most UINT64_MAX. */
uint64_t km_extent(const uint32_t *shape, const uint32_t *strides, uint32_t rank);

/** Reads the header and the modules. */
enum kmodel_status km_read_container(struct km_state *state);

/** Reads function `number` of a module. */
enum kmodel_status km_read_function(struct km_state *state,
                                    const struct km_module *module, uint32_t number,
                                    struct km_function *function);

/** Reads a memory range; false if a field is not one. */
bool km_read_range(struct km_reader *reader, struct km_range *range);

/** Checks, and runs while state->run is set, the code of the entry function. */
enum kmodel_status km_vm_run(struct km_state *state);

/** Checks, and runs while state->run is set, state->callee with these arguments. */
enum kmodel_status km_k210_run(struct km_state *state, uint32_t number,
                               const struct km_argument *inputs,
                               const struct kmodel_view *outputs);

/** Adds to the work of an inference; false if it is more than the most. */
bool km_add_work(struct km_state *state, uint64_t work);

/** Tells the hook, if there is one, of an operation. */
void km_tell(const struct km_state *state, uint32_t function, uint32_t index,
             const struct kmodel_view *outputs, uint32_t count);

#endif
