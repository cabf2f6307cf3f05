#include "lib/vision/vision.h"

#include <array>
#include <fstream>
#include <unistd.h>

#include "lib/core/error.h"
#include "lib/core/rng.h"
#include "lib/vision/image_header.h"
#include "tests/support/catch.h"

using namespace retort;

namespace {

using Bytes = std::vector<std::byte>;

Tensor random_image(std::int64_t channels, std::int64_t height, std::int64_t width) {
  return Rng(11).uniform_tensor({channels, height, width}, 0, 256).to(at::kByte);
}

class TempFolder {
 public:
  TempFolder()
      : path_(std::filesystem::temp_directory_path() /
              ("retort-vision-" + std::to_string(getpid()))) {
    std::filesystem::create_directories(path_);
  }
  ~TempFolder() { std::filesystem::remove_all(path_); }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

Bytes bytes_of(std::initializer_list<int> values) {
  Bytes bytes;
  for (const int value : values) bytes.push_back(std::byte(value));
  return bytes;
}

Bytes file_bytes(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  const auto* data = reinterpret_cast<const std::byte*>(text.data());
  return {data, data + text.size()};
}

// Small files made by other programs (Python's zlib, Pillow), so that our own encoder is not the
// judge.
// 2x1 pixels: gray 10 and 200 with alpha 255 and 128.
const Bytes kGrayAlphaPng =
    bytes_of({0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48,
              0x44, 0x52, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x01, 0x08, 0x04, 0x00, 0x00,
              0x00, 0x5e, 0x2b, 0xb7, 0x01, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x44, 0x41, 0x54, 0x78,
              0x9c, 0x63, 0xe0, 0xfa, 0x7f, 0xa2, 0x01, 0x00, 0x05, 0x3a, 0x02, 0x52, 0xf1, 0xb0,
              0xca, 0x32, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82});
// 1x1 pixel RGBA (10, 20, 30, 40).
const Bytes kRgbaPng =
    bytes_of({0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48,
              0x44, 0x52, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x01, 0x08, 0x06, 0x00, 0x00,
              0x00, 0x1f, 0x15, 0xc4, 0x89, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x44, 0x41, 0x54, 0x78,
              0x9c, 0x63, 0xe0, 0x12, 0x91, 0xd3, 0x00, 0x00, 0x00, 0xcd, 0x00, 0x65, 0x6a, 0x99,
              0x84, 0x42, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82});
// 2x1 pixels of 16-bit gray: 257 * 7 and 65535.
const Bytes kSixteenBitPng =
    bytes_of({0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48,
              0x44, 0x52, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x01, 0x10, 0x00, 0x00, 0x00,
              0x00, 0x81, 0xd9, 0xfc, 0x15, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x44, 0x41, 0x54, 0x78,
              0x9c, 0x63, 0x60, 0x67, 0xff, 0xff, 0x1f, 0x00, 0x03, 0x33, 0x02, 0x0d, 0xd5, 0xe4,
              0x20, 0x2a, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82});
// 3x2 pixels, all (200, 30, 60), lossless WebP.
const Bytes kWebp =
    bytes_of({0x52, 0x49, 0x46, 0x46, 0x1e, 0x00, 0x00, 0x00, 0x57, 0x45, 0x42, 0x50, 0x56,
              0x50, 0x38, 0x4c, 0x11, 0x00, 0x00, 0x00, 0x2f, 0x02, 0x40, 0x00, 0x00, 0x07,
              0x50, 0x8f, 0x22, 0x97, 0xa7, 0xff, 0x81, 0x88, 0xe8, 0x7f, 0x00, 0x00});

}  // namespace

TEST_CASE("colour stays RGB, gray stays one channel, alpha and extra bits go", "[vision]") {
  CHECK(vision::decode_image(kGrayAlphaPng, "la")
            .equal(at::tensor({10, 200}, at::kByte).view({1, 1, 2})));
  CHECK(vision::decode_image(kRgbaPng, "rgba")
            .equal(at::tensor({10, 20, 30}, at::kByte).view({3, 1, 1})));
  CHECK(vision::decode_image(kSixteenBitPng, "16")
            .equal(at::tensor({7, 255}, at::kByte).view({1, 1, 2})));
  const Tensor webp = vision::decode_image(kWebp, "webp");
  CHECK(webp.equal(at::tensor({200, 30, 60}, at::kByte).view({3, 1, 1}).expand({3, 2, 3})));
}

TEST_CASE("lossless formats give back the pixels that were written", "[vision]") {
  const TempFolder folder;
  for (const std::int64_t channels : {1, 3}) {
    const Tensor image = random_image(channels, 5, 7);
    CHECK(vision::decode_image(vision::encode_png(image), "memory").equal(image));
    vision::write_image(folder / "a.png", image);
    CHECK(vision::read_image(folder / "a.png").equal(image));
    vision::write_image(folder / "a.BMP", image);
    CHECK(vision::read_image(folder / "a.BMP").equal(image));
  }
  const Tensor smooth = at::arange(64, at::kByte).view({1, 8, 8}).expand({3, 8, 8});
  vision::write_image(folder / "a.jpg", smooth);
  const Tensor back = vision::read_image(folder / "a.jpg");
  CHECK(back.sizes() == smooth.sizes());
  CHECK((back.to(at::kInt) - smooth.to(at::kInt)).abs().max().item<int>() <= 4);
}

TEST_CASE("the header tells format and size without decoding", "[vision][header]") {
  const TempFolder folder;
  const Tensor image = random_image(3, 5, 7);
  using vision::ImageFormat;
  const std::array<std::pair<std::string, ImageFormat>, 3> cases{
      {{"a.png", ImageFormat::Png}, {"a.jpg", ImageFormat::Jpeg}, {"a.bmp", ImageFormat::Bmp}}};
  for (const auto& [name, format] : cases) {
    vision::write_image(folder / name, image);
    const auto header = vision::read_image_header(file_bytes(folder / name));
    REQUIRE(header.has_value());
    CHECK(header->format == format);
    CHECK(header->width == 7);
    CHECK(header->height == 5);
  }
  const auto webp = vision::read_image_header(kWebp);
  REQUIRE(webp.has_value());
  CHECK(webp->format == ImageFormat::Webp);
  CHECK(webp->width == 3);
  CHECK(webp->height == 2);
  CHECK_FALSE(vision::read_image_header(bytes_of({'G', 'I', 'F', '8', '9', 'a'})).has_value());
  CHECK_FALSE(vision::read_image_header({}).has_value());
}

TEST_CASE("no prefix of an image crashes the header reader or passes for the whole", "[vision]") {
  const TempFolder folder;
  for (const char* name : {"a.png", "a.jpg", "a.bmp"}) {
    vision::write_image(folder / name, random_image(3, 6, 6));
    const Bytes whole = file_bytes(folder / name);
    CHECK_NOTHROW(vision::decode_image(whole, name));
    for (std::size_t size = 0; size < whole.size(); ++size) {
      INFO(name << " cut to " << size << " of " << whole.size());
      CHECK_THROWS_AS(vision::decode_image(std::span(whole).first(size), name), DataError);
    }
  }
}

TEST_CASE("a WebP that is cut off is refused", "[vision]") {
  for (std::size_t size = 0; size < kWebp.size(); ++size) {
    CHECK_THROWS_AS(vision::decode_image(std::span(kWebp).first(size), "cut.webp"), DataError);
  }
}

TEST_CASE("an unreadable image is refused with its name and the reason", "[vision]") {
  const TempFolder folder;
  CHECK_THROWS_WITH_TEXT(vision::decode_image({}, "a.png"), DataError, "'a.png': is empty");
  CHECK_THROWS_WITH_TEXT(vision::decode_image(bytes_of({1, 2, 3, 4}), "a.png"), DataError,
                         "is not a JPEG, PNG, BMP or WebP image");
  CHECK_THROWS_WITH_TEXT(vision::read_image(folder / "missing.png"), DataError,
                         "missing.png': cannot be read: No such file");
  CHECK_THROWS_WITH_TEXT(vision::read_image(folder / ""), DataError, "Is a directory");
  Bytes bomb = vision::encode_png(random_image(1, 4, 4));
  bomb[16] = bomb[20] = std::byte{0x7F};
  CHECK_THROWS_WITH_TEXT(vision::decode_image(bomb, "bomb"), DataError, "are not read");
  vision::write_image(folder / "a.jpg", random_image(3, 16, 16));
  Bytes jpeg = file_bytes(folder / "a.jpg");
  jpeg.resize(jpeg.size() - 20);
  CHECK_THROWS_WITH_TEXT(vision::decode_image(jpeg, "cut.jpg"), DataError,
                         "'cut.jpg': the image data has no end; is the file truncated?");
  CHECK_THROWS_WITH_TEXT(vision::write_image(folder / "a.tiff", random_image(1, 2, 2)), ConfigError,
                         "ends in .png, .jpg, .jpeg or .bmp");
  CHECK_THROWS_WITH_TEXT(vision::encode_png(at::zeros({2, 4, 4}, at::kByte)), ConfigError,
                         "expected uint8 [1 or 3,H,W]");
}

TEST_CASE("resizing keeps the centre of the longer side", "[vision][resize]") {
  // Columns 0 .. 11 of 4 rows: the shorter side already fits, columns 4 .. 7 are the centre.
  const Tensor wide = at::arange(12, at::kByte).expand({1, 4, 12});
  CHECK(vision::resize_and_crop(wide, 4).equal(wide.narrow(2, 4, 4)));
  CHECK(
      vision::resize_and_crop(wide.transpose(1, 2), 4).equal(wide.narrow(2, 4, 4).transpose(1, 2)));
  // Shrinking by two averages 2x2 blocks.
  const Tensor blocks = at::tensor({0, 10, 20, 30}, at::kByte).view({1, 2, 2});
  CHECK(vision::resize_and_crop(blocks, 1).flatten()[0].item<int>() == 15);
  const Tensor flat = at::full({3, 5, 9}, 77, at::kByte);
  CHECK(vision::resize_and_crop(flat, 8).equal(at::full({3, 8, 8}, 77, at::kByte)));
  CHECK(vision::resize_and_crop(flat, 3).sizes() == at::IntArrayRef({3, 3, 3}));
  CHECK_THROWS_WITH_TEXT(vision::resize_and_crop(flat, 0), ConfigError, "1 or more, found 0");
}

TEST_CASE("images that pass through JPEG are those that are read back from its bytes",
          "[vision][jpeg]") {
  for (const std::int64_t channels : {1, 3}) {
    const Tensor images = Rng(4).uniform_tensor({2, channels, 20, 24}, 0, 256).to(at::kByte);
    const Tensor back = vision::through_jpeg(images, 75);
    CHECK(back.sizes() == images.sizes());
    CHECK_FALSE(at::equal(back, images));
    for (std::int64_t i = 0; i < 2; ++i) {
      const auto bytes = vision::encode_jpeg(images[i], 75);
      CHECK(at::equal(vision::decode_image(bytes, "test"), back[i]));
    }
    // A gray plane of one value survives.
    const Tensor plain = at::full({1, channels, 16, 16}, 128, at::kByte);
    CHECK(at::equal(vision::through_jpeg(plain, 75), plain));
  }
}

TEST_CASE("a JPEG has colours at half the resolution and the tables of its quality",
          "[vision][jpeg]") {
  const auto bytes = vision::encode_jpeg(random_image(3, 32, 32), 75);
  const auto at = [&](std::size_t i) { return std::to_integer<int>(bytes.at(i)); };
  int frames = 0;
  int tables = 0;
  for (std::size_t i = 2; at(i) == 0xFF && at(i + 1) != 0xDA;
       i += 2 + std::size_t(256 * at(i + 2) + at(i + 3))) {
    if (at(i + 1) == 0xC0) {  // baseline frame: of each component number, sampling, table
      ++frames;
      CHECK(at(i + 9) == 3);
      CHECK(at(i + 11) == 0x22);
      CHECK(at(i + 14) == 0x11);
      CHECK(at(i + 17) == 0x11);
    }
    if (at(i + 1) == 0xDB) {  // 16 of luminance and 17 of chrominance at quality 50 are halved
      ++tables;
      CHECK(at(i + 5) == (at(i + 4) == 0 ? 8 : 9));
    }
  }
  CHECK(frames == 1);
  CHECK(tables >= 1);
}
