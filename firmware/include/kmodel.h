/**
 * Runs kmodels, version 5, as nncase 1.9 compiles them for target k210.
 *
 * The runtime allocates nothing and has no global state. A model runs in place: its
 * image stays where it is, is never written, and must outlive the struct kmodel. The
 * KPU reads weights from memory, past the cache: on the chip, write the image through
 * the uncached alias (0x40000000).
 *
 * Every structure, instruction and operand is checked against the memory it names when
 * the model is loaded, and again while it runs, so that no file, however damaged, makes
 * the runtime touch anything but the image, the inputs, the outputs, the working memory
 * and KPU RAM, or run without end.
 *
 *     static struct kmodel model;
 *     if (kmodel_load(&model, image, size) != KMODEL_OK) ...
 *     // working memory: model.memory.working bytes
 *     struct kmodel_run run = {.kpu = &kpu, .inputs = ..., .outputs = ..., ...};
 *     kmodel_infer(&model, &run);
 */
#ifndef KMODEL_H
#define KMODEL_H

#include "kpu.h"

#define KMODEL_MAX_RANK 8u
/** Most inputs, and most outputs, of a function. */
#define KMODEL_MAX_TENSORS 32u
/** Alignment of the image and of the working memory. */
#define KMODEL_ALIGNMENT 256u
/** Most elementary steps a model may take; at 400 MHz more than 10 s. */
#define KMODEL_MAX_WORK (UINT64_C(1) << 32)

/** What went wrong. The values are part of the link protocol: append only. */
enum kmodel_status {
    KMODEL_OK = 0,
    /** The image or the working memory is NULL or not 256-byte aligned. */
    KMODEL_BAD_ARGUMENT = 1,
    /** Not a kmodel of version 5, or its header contradicts its modules. */
    KMODEL_BAD_HEADER = 2,
    /** A structure reaches beyond the end of what it lies in. */
    KMODEL_TRUNCATED = 3,
    /** A module header, mempool or section is not what nncase writes. */
    KMODEL_BAD_MODULE = 4,
    /** A function header or the ranges of code contradict each other. */
    KMODEL_BAD_FUNCTION = 5,
    /** An input or output of a function has an impossible type, shape or place. */
    KMODEL_BAD_TENSOR = 6,
    /** Code that pops an empty stack, reads an unset register or mixes up types. */
    KMODEL_BAD_CODE = 7,
    /** An instruction, operation or element type that this runtime does not know. */
    KMODEL_UNSUPPORTED = 8,
    /** The operands of an operation contradict each other. */
    KMODEL_BAD_OPERANDS = 9,
    /** An operation would read or write beyond the memory it names. */
    KMODEL_OUT_OF_BOUNDS = 10,
    /** The registers of a KPU layer contradict its shape. */
    KMODEL_BAD_LAYER = 11,
    /** A KPU layer needs more than the 64 weight loads that the chip can count. */
    KMODEL_TOO_MANY_LOADS = 12,
    /** A KPU layer would overwrite its own input. */
    KMODEL_OVERLAP = 13,
    /** One inference would take more than KMODEL_MAX_WORK steps. */
    KMODEL_TOO_LONG = 14,
    /** More functions, tensors, registers or stack than the runtime has room for. */
    KMODEL_TOO_BIG = 15,
    /** The working memory is smaller than kmodel.memory.working. */
    KMODEL_NO_MEMORY = 16,
    /** The KPU did not finish a layer. */
    KMODEL_KPU_FAILED = 17,
};

/** Element types, with the numbers nncase gives them. */
enum kmodel_type {
    KMODEL_I8 = 0,
    KMODEL_I16 = 1,
    KMODEL_I32 = 2,
    KMODEL_I64 = 3,
    KMODEL_U8 = 4,
    KMODEL_U16 = 5,
    KMODEL_U32 = 6,
    KMODEL_U64 = 7,
    KMODEL_F16 = 8,
    KMODEL_F32 = 9,
    KMODEL_F64 = 10,
    KMODEL_BF16 = 11,
};

/** Bytes that a model needs. */
struct kmodel_memory {
    /** Working memory to give to kmodel_infer. */
    uint32_t working;
    /** The part of it that is the model's own scratch data. */
    uint32_t data;
    /** All inputs, and all outputs. */
    uint32_t inputs;
    uint32_t outputs;
    /** End of the highest map in KPU RAM. */
    uint32_t kpu_ram;
};

/** What goes into a model, or comes out. */
enum kmodel_side { KMODEL_INPUT, KMODEL_OUTPUT };

/** An input or output: dense, row-major. */
struct kmodel_tensor {
    enum kmodel_type type;
    uint32_t rank;
    uint32_t shape[KMODEL_MAX_RANK];
    uint32_t size; /**< bytes */
};

/** Room for the interpreter; nothing in it is for the caller. */
#define KMODEL_PRIVATE_WORDS 1744u

/** A loaded model. The caller owns it; it may be moved only by loading again. */
struct kmodel {
    struct kmodel_memory memory;
    /** Elementary steps of one inference, roughly clock cycles. */
    uint64_t work;
    uint32_t inputs;
    uint32_t outputs;
    /** Offset in the image of what the last error is about. */
    uint32_t error_offset;
    uint64_t private_[KMODEL_PRIVATE_WORDS];
};

/** The function number of operations of the entry function, which runs on the CPU. */
#define KMODEL_ENTRY 0xFFFFu

/** A tensor an operation has written: strided, or a map in KPU RAM. */
struct kmodel_view {
    const uint8_t *data;
    enum kmodel_type type;
    uint32_t rank;
    uint32_t shape[KMODEL_MAX_RANK];
    uint32_t strides[KMODEL_MAX_RANK]; /**< in elements; unused for a map */
    bool map; /**< data lies in KPU RAM, in the KPU's layout of NCHW */
};

/** An operation, told to a hook before and after it runs. */
struct kmodel_op {
    uint16_t function; /**< k210 function, or KMODEL_ENTRY: op id k<f>.<i> or s<i> */
    uint32_t index;
    bool done;                         /**< false before it runs, true after */
    const struct kmodel_view *outputs; /**< what it has written; NULL before */
    uint32_t output_count;
};

/** Called before and after every operation. */
typedef void (*kmodel_hook)(void *context, const struct kmodel_op *op);

/** What one inference works with. */
struct kmodel_run {
    const struct kpu *kpu;
    /** One pointer per input and output, each 8-byte aligned. */
    const void *const *inputs;
    void *const *outputs;
    /** Working memory, 256-byte aligned. */
    void *memory;
    uint32_t memory_size;
    /** NULL, or called around every operation. */
    kmodel_hook hook;
    void *hook_context;
};

/**
 * Checks a kmodel throughout and prepares to run it.
 *
 * @param image 256-byte aligned; stays the caller's and is only read
 * @return KMODEL_OK, or why the model is refused; model->error_offset says where
 */
enum kmodel_status kmodel_load(struct kmodel *model, const void *image, size_t size);

/** Describes input or output `index`; false if there is none. */
bool kmodel_describe(const struct kmodel *model, enum kmodel_side side, uint32_t index,
                     struct kmodel_tensor *tensor);

/** Runs a loaded model once. */
enum kmodel_status kmodel_infer(struct kmodel *model, const struct kmodel_run *run);

/** Bytes that a view's elements take when dense. */
uint32_t kmodel_view_size(const struct kmodel_view *view);

/** Copies a view's elements, dense and row-major, to `target`. */
void kmodel_view_read(const struct kmodel_view *view, void *target);

/** One sentence, without a full stop, on what a status means. */
const char *kmodel_message(enum kmodel_status status);

#endif
