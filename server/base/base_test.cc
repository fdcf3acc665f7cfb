#include <fcntl.h>

#include <cerrno>
#include <memory>
#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/kernel_error.h"
#include "server/base/result.h"
#include "server/base/unique_fd.h"

namespace netprov {
namespace {

using ::testing::Eq;

bool IsOpen(int fd) { return ::fcntl(fd, F_GETFD) != -1; }

TEST(UniqueFdTest, ClosesOnceAtTheEndOfItsOwner) {
  int raw = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  {
    UniqueFd first(raw);
    UniqueFd second(std::move(first));
    EXPECT_FALSE(first.valid());  // NOLINT(bugprone-use-after-move): what a move leaves is the contract here.
    EXPECT_THAT(second.get(), Eq(raw));
    EXPECT_TRUE(IsOpen(raw));
  }
  EXPECT_FALSE(IsOpen(raw));
}

TEST(UniqueFdTest, AssignmentClosesWhatItReplaces) {
  int raw = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  UniqueFd fd(raw);
  fd = UniqueFd();
  EXPECT_FALSE(IsOpen(raw));
}

TEST(KernelErrorTest, ReadsLikeASentence) {
  KernelError error{.code = ERANGE, .operation = "RTM_NEWLINK veth0", .extack = "too long"};
  EXPECT_EQ(error.ToString(), "RTM_NEWLINK veth0: Numerical result out of range (ERANGE): too long");
  error.extack.clear();
  error.code = 100000;
  EXPECT_EQ(error.ToString(), "RTM_NEWLINK veth0: unknown error (errno 100000)");
}

TEST(KernelErrorTest, TakesErrno) {
  EXPECT_EQ(::open("/dev/null/nothing", O_RDONLY | O_CLOEXEC), -1);
  EXPECT_EQ(ErrnoError("open(x)"), (KernelError{.code = ENOTDIR, .operation = "open(x)", .extack = ""}));
}

Result<int, std::string> Half(int number) {
  if (number % 2 != 0) return std::string("odd");
  return number / 2;
}

Result<std::unique_ptr<int>, std::string> Quarter(int number) {
  NETPROV_ASSIGN_OR_RETURN(int half, Half(number));
  NETPROV_ASSIGN_OR_RETURN(int quarter, Half(half));
  return std::make_unique<int>(quarter);
}

Result<void, std::string> CheckEven(int number) {
  NETPROV_RETURN_IF_ERROR(Half(number));
  return {};
}

TEST(ResultTest, CarriesAValueOrAnError) {
  EXPECT_EQ(**Quarter(8), 2);
  EXPECT_EQ(Quarter(6).error(), "odd");
  EXPECT_TRUE(CheckEven(2).ok());
  EXPECT_EQ(CheckEven(3).error(), "odd");
}

}  // namespace
}  // namespace netprov
