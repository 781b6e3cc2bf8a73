// From C++: objects that free themselves, an allocator of one's own, two threads, the versions of header and library.
// Usage: example MODEL.zlm. Exit status 0 if all is as it should be.
#include <zllm.h>

#include <atomic>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

namespace {

struct Freed {
  void operator()(zllm_model *model) const { zllm_model_free(model); }
  void operator()(zllm_job *job) const { zllm_job_free(job); }
};

std::atomic<std::size_t> held{0};  // bytes

void *allocate(void *, std::size_t size) {
  void *memory = ::operator new(size, std::nothrow);
  if (memory != nullptr) held += size;
  return memory;
}

void release(void *, void *memory, std::size_t size) {
  held -= size;
  ::operator delete(memory);
}

zllm_options options() {
  zllm_options made = zllm_options();
  made.size = sizeof made;
  made.allocate = allocate;
  made.release = release;
  return made;
}

std::vector<uint8_t> read_all(const char *name) {
  std::ifstream file(name, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::unique_ptr<zllm_model, Freed> load(const std::vector<uint8_t> &data) {
  const zllm_options how = options();
  zllm_model *model = nullptr;
  const zllm_result rc = zllm_model_parse(data.data(), data.size(), nullptr, &how, &model);
  if (rc == ZLLM_E_MODEL) std::fprintf(stderr, "%s\n", zllm_model_error());
  return std::unique_ptr<zllm_model, Freed>(model);
}

// The token of each byte: every model has one.
std::vector<uint32_t> byte_tokens(const std::vector<uint8_t> &data) {
  std::vector<uint32_t> found(256);
  zllm_model_file *file = nullptr;
  if (zllm_model_file_open(data.data(), data.size(), nullptr, &file) != ZLLM_OK) return found;
  std::size_t n = 0;
  const zllm_tensor *tensors = zllm_model_file_tensors(file, &n);
  const uint8_t *bytes = nullptr, *offsets = nullptr;
  std::size_t vocab = 0;
  for (std::size_t i = 0; i < n; i++) {
    const std::string name(tensors[i].name, tensors[i].name_size);
    if (name == "tokens.bytes") bytes = tensors[i].data;
    if (name != "tokens.offsets") continue;
    offsets = tensors[i].data;
    vocab = static_cast<std::size_t>(tensors[i].shape[0]) - 1;
  }
  const auto offset = [&](std::size_t i) {
    const uint8_t *p = offsets + 4 * i;
    return p[0] | uint32_t{p[1]} << 8 | uint32_t{p[2]} << 16 | uint32_t{p[3]} << 24;
  };
  for (std::size_t i = 0; i < vocab; i++)
    if (offset(i + 1) - offset(i) == 1) found[bytes[offset(i)]] = static_cast<uint32_t>(i);
  zllm_model_file_free(file);
  return found;
}

// Two threads, which have a stream of the frame each.
bool work(const zllm_model *model, zllm_frame *frame, bool decoding) {
  const zllm_options how = options();
  zllm_job *job = nullptr;
  if (zllm_job_new(model, frame, 0, 2, decoding, &how, &job) != ZLLM_OK) return false;
  const std::unique_ptr<zllm_job, Freed> owner(job);
  zllm_result results[2] = {ZLLM_OK, ZLLM_OK};
  const auto part = [&](uint32_t number) {
    zllm_run run = zllm_run();
    run.lanes = 4;
    zllm_job *jobs[] = {job};
    results[number] = zllm_job_work(jobs, 1, number, &run);
  };
  std::thread other(part, 1);
  part(0);
  other.join();
  return results[0] == ZLLM_OK && results[1] == ZLLM_OK;
}

bool comes_back(const zllm_model *model, const std::vector<uint32_t> &token) {
  const std::string text = "It was the season of Light, it was the season of Darkness, it was the spring of hope.";
  const std::size_t half = text.size() / 2;
  std::vector<uint32_t> tokens;
  for (const char c : text) tokens.push_back(token[static_cast<uint8_t>(c)]);
  std::vector<uint8_t> coded(8 * text.size()), decoded(text.size());
  zllm_stream streams[2] = {zllm_stream(), zllm_stream()};
  streams[0].tokens = tokens.data();
  streams[0].n_tokens = streams[0].size = half;
  streams[1].tokens = tokens.data() + half;
  streams[1].n_tokens = streams[1].size = text.size() - half;
  zllm_frame frame = zllm_frame();
  frame.streams = streams;
  frame.n_streams = 2;
  frame.data = decoded.data();
  frame.size = text.size();
  frame.coded = coded.data();
  frame.coded_size = coded.size();
  return work(model, &frame, false) && work(model, &frame, true) && std::string(decoded.begin(), decoded.end()) == text;
}

}  // namespace

int main(int count, char **arguments) {
  if (count != 2) return std::fputs("usage: example MODEL.zlm\n", stderr), 2;
  if (std::string(zllm_version()) != ZLLM_VERSION_STRING || zllm_version_number() != ZLLM_VERSION_NUMBER) return 3;
  if (zllm_arithmetic_version() != ZLLM_ARITHMETIC_VERSION) return 3;
  {
    const auto data = read_all(arguments[1]);
    const auto model = load(data);
    if (!model || held < zllm_model_memory(model.get()) || !comes_back(model.get(), byte_tokens(data))) return 1;
    std::printf("libzllm %s, kernel %s: the model takes %zu bytes\n", zllm_version(), zllm_model_kernel(model.get()),
                held.load());
  }
  return held == 0 ? 0 : 4;
}
