/* What a transformer's model file has (network/schema.h says how to read it). */
#ifndef ZLLM_TRANSFORMER_SCHEMA_H
#define ZLLM_TRANSFORMER_SCHEMA_H

#include "network/schema.h"

/* Sums of attention over more are exact in C, too; those of the torch executor, in parts of 5 bits, are not. */
#define MOST_WINDOW 4096

#define TRANSFORMER_CONFIG(F)                                                                                          \
    F(vocab, NEEDED, "tokens")                                                                                         \
    F(dim, NEEDED, "numbers of a row")                                                                                 \
    F(layers, NEEDED, "layers")                                                                                        \
    F(heads, NEEDED, "heads of queries")                                                                               \
    F(kv_heads, NEEDED, "heads of keys and values")                                                                    \
    F(head_dim, NEEDED, "numbers of a head")                                                                           \
    F(ffn, NEEDED, "numbers between the feed-forward's matrices")                                                      \
    F(window, NEEDED, "tokens that attention looks back on")                                                           \
    F(qk, 0, "heads of queries and keys are 0: normalised; 1: not (Llama, Qwen2, GPT-2, GPT-NeoX); 2: normalised and " \
             "multiplied by a gain (Qwen3)")                                                                           \
    F(mlp, 0, "0: SwiGLU; 1: GELU, without gates")                                                                     \
    F(parallel, 0, "the feed-forward reads 0: what attention has changed; 1: what attention read (GPT-NeoX)")          \
    F(positions, 0, "0: rotary positions alone; else learned ones as well, so many (GPT-2)")                           \
    F(embed_rows, 0, "0: the embedding is the head's q; else it has a tensor of vocab or vocab + 1 rows, the last of " \
                     "vocab + 1 the start token's")                                                                    \
    F(wide_head, 0, "input rows of the head are 0: narrow; 1: wide")                                                   \
    F(classes, 0, "0: one head of all tokens; else a head of two levels has so many classes")                          \
    F(pair_bits, 0, "0: no pairs of tokens are looked up; else each of the four tables of pairs has 2^pair_bits rows") \
    F(nibbles, 0, "tables that have two numbers a byte, the first one in the lower half: 1 of values, 2 of pairs")

#define TRANSFORMER_LAYER(F)                                                                                           \
    F(temperature, 32768, 65535, NEEDED, "of the scores")                                                              \
    F(temperature_exponent, -32, 64, NEEDED, "of the temperature")                                                     \
    F(v_shift, 0, 40, NEEDED, "of the values' scales")                                                                 \
    F(up_frac, 0, 12, NEEDED, "fractional bits of the rows that are not gates")                                        \
    F(k_frac, 0, 30, 18, "fractional bits of a key's scale")                                                           \
    F(wide, 0, 15, 0, "which input rows are wide: 1 of qkv, 2 of o, 4 of gate_up, 8 of down")                          \
    F(window, 0, MOST_WINDOW, 0, "tokens that attention looks back on, at most the config's window; 0: all of that")           \
    F(residual_scale, -32767, 32767, 8192, "of the residual before the layer, in 2^-13")                               \
    F(embed_scale, -32767, 32767, 0, "of the embedding that is added to it, in 2^-13")                                 \
    F(pair_scale, -32767, 32767, 0, "of the pair's row that is added to it, in 2^-13")

#define TRANSFORMER_TENSORS(T)                                                                                         \
    MATRIX_TENSORS(T, HEAD, "head", vocab, dim, "output weights; also the embedding's rows")                           \
    T(EMBED_SCALE, "embed.scale", I16, embed_rows ? embed_rows : vocab, no_columns, always, "embed", 13, 40, 16,       \
      "scales of the embedding's rows, at least 1")                                                                    \
    T(EMBED, "embed.q", I8, embed_rows, dim, embed_rows > 0, NULL, 0, 0, 0, "the embedding")                           \
    T(POSITIONS, "positions", I32, positions, dim, positions > 0, NULL, 0, 0, 0,                                       \
      "added to the embedding, in 2^-12, at most 2^28 in size")                                                        \
    T(CLASSES, "classes", U32, classes, no_columns, classes > 0, NULL, 0, 0, 0,                                        \
      "the first token of each class, ascending from 0")                                                               \
    MATRIX_TENSORS_IF(T, CLASS, "class", classes, dim, classes > 0, "output weights of classes")                       \
    T(PAIRS, "pairs.q", I8, 4 << pair_bits, (nibbles & 2) ? dim / 8 : dim / 4, pair_bits > 0, "pairs",                 \
      13, 40, NEEDED, "rows of the four tables of pairs, one table after the other")                                   \
    T(PAIRS_SCALE, "pairs.scale", I16, 4 << pair_bits, no_columns, pair_bits > 0, NULL, 0, 0, 0,                       \
      "scales of the rows, at least 1")                                                                                \
    T(ROPE_STEP, "rope.step", U32, head_dim / 2, no_columns, always, NULL, 0, 0, 0,                                    \
      "phase of one position, in 2^-32 turns")                                                                         \
    MATRIX_TENSORS(T, QKV, "layers.N.qkv", (heads + 2 * kv_heads) * head_dim, dim, "queries, keys, values")            \
    MATRIX_TENSORS(T, O, "layers.N.o", dim, heads * head_dim, "the heads' output")                                     \
    MATRIX_TENSORS(T, GATE_UP, "layers.N.gate_up", (mlp ? 1 : 2) * ffn, dim, "gates first")                            \
    MATRIX_TENSORS(T, DOWN, "layers.N.down", dim, ffn, "the feed-forward's output")                                    \
    T(Q_GAIN, "layers.N.q_gain", I16, head_dim, no_columns, qk == 2, "layers.N.q_gain", 0, 15, NEEDED,                 \
      "gains of queries, above -32768")                                                                                \
    T(K_GAIN, "layers.N.k_gain", I16, head_dim, no_columns, qk == 2, "layers.N.k_gain", 0, 15, NEEDED,                 \
      "gains of keys, above -32768")                                                                                   \
    T(VALUES, "layers.N.values.q", I8, embed_rows ? embed_rows : vocab,                                                \
      (nibbles & 1) ? kv_heads * head_dim / 2 : kv_heads * head_dim, optional, "layers.N.values", 13, 40, NEEDED,      \
      "rows that are added to the values, by token")                                                                   \
    T(VALUES_SCALE, "layers.N.values.scale", I16, embed_rows ? embed_rows : vocab, no_columns, optional, NULL, 0, 0,   \
      0, "scales of the rows, at least 1; there if the rows are")

typedef struct {
    TRANSFORMER_CONFIG(SCHEMA_FIELD)
} transformer_config_t;

#endif
