// Fused CUDA kernels: each does in one pass over memory what a rule of ops/ does in five or ten.
//
// A graphics processor computes far faster than it can read, so what an elementwise operation costs is its traffic with
// memory. The rules evaluate a formula operation by operation, each reading and writing whole arrays; a kernel here reads
// its inputs once and writes its outputs once. The arithmetic is that of the rules (the twins in cuda/ name them), so
// no derivation stands here twice.
//
// The file is compiled once for each element type: -DELEMENT=float, double or bfloat16. Sums, means and exponentials are
// worked out in `Wide`: in double for double, else in float. All arrays are contiguous. Every integer is a long long and
// every other number a double, so that there is one way to pass them. No header is included: NVRTC needs none, and the
// tests compile the same text for the host.
//
// One row (of features, of scores, of logits) is one block's work; its threads take elements t, t + blockDim, ... of it.
// blockDim is a multiple of 32. Nothing is added up atomically: the same input gives the same bits, every time.

struct bfloat16 { unsigned short bits; };  // the upper half of a float

template <typename T> struct WideOf { typedef T type; };
template <> struct WideOf<bfloat16> { typedef float type; };
typedef WideOf<ELEMENT>::type Wide;

__device__ inline float wide(float x) { return x; }
__device__ inline double wide(double x) { return x; }
__device__ inline float wide(bfloat16 x) { return __uint_as_float((unsigned int)x.bits << 16); }

template <typename T> struct Narrow { static __device__ inline T of(Wide x) { return (T)x; } };
template <> struct Narrow<bfloat16> {
    static __device__ inline bfloat16 of(Wide x) {  // to the nearest, ties to even
        bfloat16 out;
        unsigned int bits = __float_as_uint((float)x);
        out.bits = x != x ? 0x7fc0 : (unsigned short)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
        return out;
    }
};
__device__ inline ELEMENT narrow(Wide x) { return Narrow<ELEMENT>::of(x); }

// --------------------------------------------------------------------------------------------------------------------
// Sums and maxima over a block

template <typename T> __device__ inline T warp_sum(T x) {
    for (int distance = 16; distance; distance /= 2) x += __shfl_xor_sync(0xffffffffu, x, distance);
    return x;
}

template <typename T> __device__ inline T warp_max(T x) {
    for (int distance = 16; distance; distance /= 2) {
        T other = __shfl_xor_sync(0xffffffffu, x, distance);
        x = other > x || other != other ? other : x;  // NaN wins, as in NumPy
    }
    return x;
}

// The sum over all threads, told to all threads.
template <typename T> __device__ inline T block_sum(T x) {
    __shared__ T of_warp[32];
    int lane = threadIdx.x % 32;
    x = warp_sum(x);
    __syncthreads();  // of_warp may still be read for the sum before this one
    if (lane == 0) of_warp[threadIdx.x / 32] = x;
    __syncthreads();
    return warp_sum(lane < (int)blockDim.x / 32 ? of_warp[lane] : (T)0);
}

template <typename T> __device__ inline T block_max(T x) {
    __shared__ T of_warp[32];
    int lane = threadIdx.x % 32;
    x = warp_max(x);
    __syncthreads();
    if (lane == 0) of_warp[threadIdx.x / 32] = x;
    __syncthreads();
    return warp_max(lane < (int)blockDim.x / 32 ? of_warp[lane] : x);
}

__device__ inline Wide minus_infinity() { return -(Wide)__uint_as_float(0x7f800000u); }

// --------------------------------------------------------------------------------------------------------------------
// Layer norm and RMS norm (ops/normalization.py). RMS norm is layer norm that takes the mean for 0 (centre = 0).
// Weight and bias are kept wide, whatever the activations are. Grid: one block a row.

extern "C" __global__ void norm_forward(
    const ELEMENT* x, const Wide* weight, const Wide* bias, ELEMENT* out, Wide* mean, Wide* inverse,
    long long width, double epsilon, long long centre)
{
    const ELEMENT* row = x + blockIdx.x * width;
    Wide sum = 0, squares = 0;
    if (centre) {
        for (long long i = threadIdx.x; i < width; i += blockDim.x) sum += wide(row[i]);
        sum = block_sum(sum) / width;
    }
    for (long long i = threadIdx.x; i < width; i += blockDim.x) {
        Wide centred = wide(row[i]) - sum;
        squares += centred * centred;
    }
    Wide scale = 1 / sqrt(block_sum(squares) / width + (Wide)epsilon);
    for (long long i = threadIdx.x; i < width; i += blockDim.x) {
        Wide y = (wide(row[i]) - sum) * scale;
        if (weight) y *= weight[i];
        if (bias) y += bias[i];
        out[blockIdx.x * width + i] = narrow(y);
    }
    if (threadIdx.x == 0) {
        mean[blockIdx.x] = sum;
        inverse[blockIdx.x] = scale;
    }
}

extern "C" __global__ void norm_backward_x(
    const ELEMENT* g, const ELEMENT* x, const Wide* weight, const Wide* mean, const Wide* inverse, ELEMENT* dx,
    long long width, long long centre)
{
    long long start = blockIdx.x * width;
    Wide middle = mean[blockIdx.x], scale = inverse[blockIdx.x], sum = 0, product = 0;
    for (long long i = threadIdx.x; i < width; i += blockDim.x) {
        Wide d = wide(g[start + i]) * (weight ? weight[i] : (Wide)1);
        sum += d;
        product += d * (wide(x[start + i]) - middle) * scale;
    }
    sum = centre ? block_sum(sum) / width : (Wide)0;
    product = block_sum(product) / width;
    for (long long i = threadIdx.x; i < width; i += blockDim.x) {
        Wide d = wide(g[start + i]) * (weight ? weight[i] : (Wide)1);
        dx[start + i] = narrow(scale * (d - sum - (wide(x[start + i]) - middle) * scale * product));
    }
}

// Sums over some rows, of g times the normalised vectors and of g: one line of each of two tables for each blockIdx.y,
// which the caller adds up. Grid: columns in blocks of blockDim, groups of `rows_each` rows.
extern "C" __global__ void norm_backward_parameters(
    const ELEMENT* g, const ELEMENT* x, const Wide* mean, const Wide* inverse, Wide* dweight, Wide* dbias,
    long long n_rows, long long width, long long rows_each)
{
    long long column = (long long)blockIdx.x * blockDim.x + threadIdx.x, first = blockIdx.y * rows_each;
    if (column >= width) return;
    Wide weight_sum = 0, bias_sum = 0;
    for (long long row = first; row < first + rows_each && row < n_rows; row++) {
        Wide upper = wide(g[row * width + column]);
        weight_sum += upper * (wide(x[row * width + column]) - mean[row]) * inverse[row];
        bias_sum += upper;
    }
    dweight[blockIdx.y * width + column] = weight_sum;
    dbias[blockIdx.y * width + column] = bias_sum;
}

// --------------------------------------------------------------------------------------------------------------------
// Bias and activation (ops/activation.py, ops/feedforward.py): y = f(x + bias), and with a gate y = f(gate) up. `kind` is 0
// for the exact GELU, 1 for its tanh form, 2 for SiLU, 3 for ReLU, 4 for no activation at all, which leaves the bias.

__device__ inline void activate(Wide x, long long kind, Wide* y, Wide* slope) {
    if (kind >= 3) {
        bool passes = kind == 4 || x > 0;
        *y = passes || x != x ? x : (Wide)0;
        *slope = passes;
        return;
    }
    Wide h, dh;  // y = x h(x)
    if (kind == 0) {
        h = (Wide)0.5 * (1 + erf(x * (Wide)0.70710678118654752440));
        dh = exp((Wide)-0.5 * x * x) * (Wide)0.39894228040143267794;
    } else if (kind == 1) {
        const Wide c = (Wide)0.79788456080286535588, k = (Wide)0.044715;
        Wide t = tanh(c * (x + k * x * x * x));
        h = (Wide)0.5 * (1 + t);
        dh = (Wide)0.5 * (1 - t * t) * c * (1 + 3 * k * x * x);
    } else {
        Wide small = exp(x >= 0 ? -x : x);  // of a negative number: it cannot overflow
        h = (x >= 0 ? (Wide)1 : small) / (1 + small);
        dh = h * (1 - h);
    }
    *y = x * h;
    *slope = h + x * dh;
}

// A thread takes one column of `rows_each` rows, so that it reads its bias (or null) once. `out` may be `x`.
// Grid: columns in blocks of blockDim, groups of rows.
extern "C" __global__ void activation_forward(
    const ELEMENT* x, const Wide* bias, ELEMENT* out, long long n_rows, long long width, long long rows_each,
    long long kind)
{
    long long column = (long long)blockIdx.x * blockDim.x + threadIdx.x, first = blockIdx.y * rows_each;
    if (column >= width) return;
    Wide shift = bias ? bias[column] : (Wide)0, y, slope;
    for (long long row = first; row < first + rows_each && row < n_rows; row++) {
        activate(wide(x[row * width + column]) + shift, kind, &y, &slope);
        out[row * width + column] = narrow(y);
    }
}

// The gradients of x (if `dx` is not null) and, with `dbias`, of the bias: the sum of each group of rows, one line of a
// table for each blockIdx.y, which the caller adds up. Grid: as above.
extern "C" __global__ void activation_backward(
    const ELEMENT* g, const ELEMENT* x, const Wide* bias, ELEMENT* dx, Wide* dbias, long long n_rows,
    long long width, long long rows_each, long long kind)
{
    long long column = (long long)blockIdx.x * blockDim.x + threadIdx.x, first = blockIdx.y * rows_each;
    if (column >= width) return;
    Wide shift = bias ? bias[column] : (Wide)0, sum = 0, y, slope = 1;
    for (long long row = first; row < first + rows_each && row < n_rows; row++) {
        if (kind != 4) activate(wide(x[row * width + column]) + shift, kind, &y, &slope);
        Wide d = wide(g[row * width + column]) * slope;
        if (dx) dx[row * width + column] = narrow(d);
        sum += d;
    }
    if (dbias) dbias[blockIdx.y * width + column] = sum;
}

// Grid: one thread an element.
extern "C" __global__ void gate_forward(
    const ELEMENT* gate, const ELEMENT* up, ELEMENT* out, long long n, long long kind)
{
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    Wide y, slope;
    activate(wide(gate[i]), kind, &y, &slope);
    out[i] = narrow(y * wide(up[i]));
}

extern "C" __global__ void gate_backward(
    const ELEMENT* g, const ELEMENT* gate, const ELEMENT* up, ELEMENT* dgate, ELEMENT* dup, long long n, long long kind)
{
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    Wide y, slope, upper = wide(g[i]);
    activate(wide(gate[i]), kind, &y, &slope);
    dgate[i] = narrow(upper * wide(up[i]) * slope);
    dup[i] = narrow(upper * y);
}

// --------------------------------------------------------------------------------------------------------------------
// The softmax of attention (ops/attention.py): scale, masks and softmax of each row of scores. `out` may be `scores`.
// Grid: one block a row; rows are numbered (b, h, t). Query t looks at keys up to t + n_keys - n_queries if causal. `mask`
// (bytes, 1 where a query may look; or null) has strides, in elements, for its four axes; 0 where it is broadcast.

extern "C" __global__ void attention_softmax(
    const ELEMENT* scores, const unsigned char* mask, ELEMENT* out, long long n_heads, long long n_queries,
    long long n_keys, double scale, long long causal, long long stride_b, long long stride_h, long long stride_t,
    long long stride_s)
{
    long long row = blockIdx.x, t = row % n_queries, start = row * n_keys;
    long long seen = causal ? t + n_keys - n_queries + 1 : n_keys;  // keys from here on lie in the future
    const unsigned char* look = mask ? mask + row / (n_heads * n_queries) * stride_b
        + row / n_queries % n_heads * stride_h + t * stride_t : mask;
    Wide top = minus_infinity(), total = 0;
    for (long long s = threadIdx.x; s < seen; s += blockDim.x) {
        if (look && !look[s * stride_s]) continue;
        Wide x = wide(scores[start + s]) * (Wide)scale;
        top = x > top || x != x ? x : top;
    }
    top = block_max(top);
    if (top == minus_infinity()) top = 0;  // a query that may look nowhere gets zeros
    for (long long s = threadIdx.x; s < seen; s += blockDim.x)
        if (!look || look[s * stride_s]) total += exp(wide(scores[start + s]) * (Wide)scale - top);
    total = block_sum(total);
    for (long long s = threadIdx.x; s < n_keys; s += blockDim.x) {
        bool visible = s < seen && (!look || look[s * stride_s]);
        out[start + s] = narrow(visible ? exp(wide(scores[start + s]) * (Wide)scale - top) / total : (Wide)0);
    }
}

// The gradient of the scores before scaling, from the weights p and their gradient; `out` may be `dp`. One block a row.
extern "C" __global__ void attention_softmax_backward(
    const ELEMENT* p, const ELEMENT* dp, ELEMENT* out, long long n_keys, double scale)
{
    long long start = blockIdx.x * n_keys;
    Wide dot = 0;
    for (long long s = threadIdx.x; s < n_keys; s += blockDim.x) dot += wide(p[start + s]) * wide(dp[start + s]);
    dot = block_sum(dot);
    for (long long s = threadIdx.x; s < n_keys; s += blockDim.x)
        out[start + s] = narrow(wide(p[start + s]) * (wide(dp[start + s]) - dot) * (Wide)scale);
}

// --------------------------------------------------------------------------------------------------------------------
// Cross entropy (ops/loss.py): the loss of each row of logits, times what the row counts for; and, with `gradient`, the
// gradient of that in place of the logits. Grid: one block a row.

extern "C" __global__ void cross_entropy_rows(
    ELEMENT* logits, const long long* targets, const Wide* importance, Wide* losses, long long n_vocab,
    long long gradient)
{
    ELEMENT* row = logits + blockIdx.x * n_vocab;
    long long target = targets[blockIdx.x];
    bool inside = target >= 0 && target < n_vocab;  // the host looks for others; if one comes, the loss is not a number
    Wide counts = importance[blockIdx.x], of_target = inside ? wide(row[target]) : (Wide)__uint_as_float(0x7fc00000u);
    Wide top = minus_infinity(), total = 0;
    for (long long i = threadIdx.x; i < n_vocab; i += blockDim.x) {
        Wide x = wide(row[i]);
        top = x > top || x != x ? x : top;
    }
    top = block_max(top);
    for (long long i = threadIdx.x; i < n_vocab; i += blockDim.x) total += exp(wide(row[i]) - top);
    total = block_sum(total);  // from here on every thread has read of_target
    if (threadIdx.x == 0) losses[blockIdx.x] = counts == 0 ? (Wide)0 : (log(total) + top - of_target) * counts;
    if (!gradient) return;
    for (long long i = threadIdx.x; i < n_vocab; i += blockDim.x) {
        Wide p = exp(wide(row[i]) - top) / total;
        row[i] = narrow(counts == 0 ? (Wide)0 : (p - (i == target ? 1 : 0)) * counts);
    }
}

// --------------------------------------------------------------------------------------------------------------------
// Dropout (ops/dropout.py). The random bits are those of NumPy's Philox4x64-10 with key (key_0, key_1) and counter
// (0, 0, call, step): word w of its output is number w % 4 of block w / 4, whose counter is w / 4 + 1; element i takes
// the low half of word i / 2 if it is even, the high half if odd. Grid: one thread for each block of eight elements.

__device__ inline void philox(unsigned long long counter, unsigned long long call, unsigned long long step,
                              unsigned long long key_0, unsigned long long key_1, unsigned long long* out)
{
    unsigned long long c0 = counter, c1 = 0, c2 = call, c3 = step;
    for (int round = 0; round < 10; round++) {
        unsigned long long high_0 = __umul64hi(0xD2E7470EE14C6C93ull, c0), low_0 = 0xD2E7470EE14C6C93ull * c0;
        unsigned long long high_2 = __umul64hi(0xCA5A826395121157ull, c2), low_2 = 0xCA5A826395121157ull * c2;
        c0 = high_2 ^ c1 ^ key_0;
        c1 = low_2;
        c2 = high_0 ^ c3 ^ key_1;
        c3 = low_0;
        key_0 += 0x9E3779B97F4A7C15ull;
        key_1 += 0xBB67AE8584CAA73Bull;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

extern "C" __global__ void dropout_apply(
    const ELEMENT* x, ELEMENT* out, long long n, long long key_0, long long key_1, long long call, long long step,
    long long threshold, double scale)
{
    long long block = (long long)blockIdx.x * blockDim.x + threadIdx.x, first = block * 8;
    if (first >= n) return;
    unsigned long long words[4];
    philox(block + 1, call, step, key_0, key_1, words);
    for (int i = 0; i < 8 && first + i < n; i++) {
        unsigned int bits = (unsigned int)(words[i / 2] >> (i % 2 * 32));
        Wide kept = (long long)bits >= threshold ? (Wide)scale : (Wide)0;
        out[first + i] = narrow(wide(x[first + i]) * kept);
    }
}

// --------------------------------------------------------------------------------------------------------------------
// The gradient of an embedding (ops/indexing.py). `ids` are sorted, and `order` says where each stood: rows of one id lie
// one after the other, and the block of the first of them adds them up, in this order. Grid: one block a position.

extern "C" __global__ void embedding_backward(
    const ELEMENT* g, const long long* ids, const long long* order, ELEMENT* dweight, long long n, long long width)
{
    long long first = blockIdx.x, id = ids[first];
    if (first > 0 && ids[first - 1] == id) return;
    for (long long i = threadIdx.x; i < width; i += blockDim.x) {
        Wide sum = 0;
        for (long long j = first; j < n && ids[j] == id; j++) sum += wide(g[order[j] * width + i]);
        dweight[id * width + i] = narrow(sum);
    }
}

// --------------------------------------------------------------------------------------------------------------------
// AdamW (optim/adamw.py) over the flat array of parameters, of which the first `n_decayed` are decayed. The clipping
// coefficient comes as an array of one number, so that nobody has to wait for it. Grid: one thread an element.

extern "C" __global__ void adamw(
    ELEMENT* p, const ELEMENT* g, ELEMENT* m, ELEMENT* v, const double* grad_scale, long long n, long long n_decayed,
    double beta1, double beta2, double step_size, double eps, double keep, double tiny)
{
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    Wide slope = wide(g[i]) * (Wide)*grad_scale;
    Wide first = (Wide)beta1 * wide(m[i]) + (Wide)(1 - beta1) * slope;
    Wide second = (Wide)beta2 * wide(v[i]) + (Wide)(1 - beta2) * slope * slope;
    if (fabs(first) < (Wide)tiny) first = 0;
    if (second < (Wide)tiny) second = 0;
    m[i] = narrow(first);
    v[i] = narrow(second);
    Wide old = i < n_decayed ? wide(p[i]) * (Wide)keep : wide(p[i]);
    p[i] = narrow(old - (Wide)step_size * first / (sqrt(second) + (Wide)eps));
}

// Sums of squares, one for each block, in double. Grid: any number of blocks, which share the elements.
extern "C" __global__ void sum_of_squares(const ELEMENT* x, double* sums, long long n)
{
    double sum = 0;
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (long long)gridDim.x * blockDim.x)
        sum += (double)wide(x[i]) * (double)wide(x[i]);
    sum = block_sum(sum);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}
