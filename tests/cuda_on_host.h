// Just enough of CUDA C++ to run the kernels of cuda.cu on the host: a block's threads are fibers on one stack each, which
// take turns wherever the device's threads would wait for one another.
//
// A barrier that not all threads of a warp or block reach is an error here ("divergent"). The order in which threads run
// can be turned around: what depends on it then differs.

#include <math.h>
#include <setjmp.h>
#include <string.h>
#include <ucontext.h>

#include <functional>
#include <vector>

#define __global__
#define __device__
#define __shared__ static

struct Index { unsigned int x, y, z; };
static Index threadIdx, blockIdx, blockDim, gridDim;

enum State { RUNS, AT_WARP, AT_BLOCK, DONE };
struct Fiber { ucontext_t start; jmp_buf at; State state; bool begun; std::vector<char> stack; };
static std::vector<Fiber> fibers;
static std::vector<unsigned long long> slots;
static std::function<void()> body;
static jmp_buf scheduler;

static void wait_as(State state) {
    Fiber& me = fibers[threadIdx.x];
    unsigned int id = threadIdx.x;
    me.state = state;
    if (!_setjmp(me.at)) _longjmp(scheduler, 1);
    threadIdx.x = id;
}

static void live() {
    for (;;) {
        body();
        wait_as(DONE);
    }
}

static void resume(unsigned int id) {
    Fiber& fiber = fibers[id];
    threadIdx.x = id;
    if (_setjmp(scheduler)) return;
    if (fiber.begun) _longjmp(fiber.at, 1);
    fiber.begun = true;
    setcontext(&fiber.start);
}

// Frees the threads that wait where all of `count` threads from `first` on wait; "all" counts those that are done for
// a block's barrier, as on the device, but not for a warp's exchange, which names all 32.
static bool release(unsigned int first, unsigned int count, State state) {
    unsigned int waiting = 0, done = 0;
    for (unsigned int i = first; i < first + count; i++) {
        waiting += fibers[i].state == state;
        done += fibers[i].state == DONE;
    }
    if (!waiting || waiting + (state == AT_BLOCK ? done : 0) < count) return false;
    for (unsigned int i = first; i < first + count; i++)
        if (fibers[i].state == state) fibers[i].state = RUNS;
    return true;
}

static const char* run_grid(const unsigned int* grid, unsigned int n_threads, int backwards) {
    if (n_threads % 32 || n_threads > 1024 || !n_threads) return "the number of threads is no multiple of 32 up to 1024";
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {n_threads, 1, 1};
    fibers.resize(n_threads);
    slots.assign(n_threads, 0);
    for (Fiber& fiber : fibers) {
        fiber.stack.resize(131072);
        fiber.begun = false;
        getcontext(&fiber.start);
        fiber.start.uc_stack.ss_sp = fiber.stack.data();
        fiber.start.uc_stack.ss_size = fiber.stack.size();
        makecontext(&fiber.start, live, 0);
    }
    unsigned long long n_blocks = (unsigned long long)grid[0] * grid[1] * grid[2];
    for (unsigned long long b = 0; b < n_blocks; b++) {
        unsigned long long block = backwards ? n_blocks - 1 - b : b;
        blockIdx = {(unsigned int)(block % grid[0]), (unsigned int)(block / grid[0] % grid[1]),
                    (unsigned int)(block / grid[0] / grid[1])};
        for (Fiber& fiber : fibers) fiber.state = RUNS;
        for (;;) {
            // One warp after the other runs as far as it can without the others: what a barrier is missing for shows.
            for (unsigned int w = 0; w < n_threads / 32; w++) {
                unsigned int first = 32 * (backwards ? n_threads / 32 - 1 - w : w);
                do
                    for (unsigned int i = 0; i < 32; i++) {
                        unsigned int id = first + (backwards ? 31 - i : i);
                        if (fibers[id].state == RUNS) resume(id);
                    }
                while (release(first, 32, AT_WARP));
            }
            unsigned int done = 0;
            for (Fiber& fiber : fibers) done += fiber.state == DONE;
            if (done == n_threads) break;
            if (!release(0, n_threads, AT_BLOCK)) return "divergent: some threads wait for others that never come";
        }
    }
    return nullptr;
}

static inline void __syncthreads() { wait_as(AT_BLOCK); }

template <typename T> static inline T __shfl_xor_sync(unsigned int, T x, int distance) {
    unsigned int id = threadIdx.x;
    memcpy(&slots[id], &x, sizeof(T));
    wait_as(AT_WARP);
    memcpy(&x, &slots[id ^ distance], sizeof(T));
    wait_as(AT_WARP);  // nobody writes again before all have read
    return x;
}

static inline float __uint_as_float(unsigned int bits) { float x; memcpy(&x, &bits, 4); return x; }
static inline unsigned int __float_as_uint(float x) { unsigned int bits; memcpy(&bits, &x, 4); return bits; }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)(((unsigned __int128)a * b) >> 64);
}
