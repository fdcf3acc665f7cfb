// What ThreadSanitizer must not report of gRPC.
//
// Templates and inline functions of gRPC's headers are compiled into our code and so are instrumented; the library that
// orders them is Debian's and is not. Between the two, every hand-over looks like a race. Left out are reports that end
// in a function of gRPC's own, or within one of its classes that sends an answer or takes one in, none of which calls
// our code.
extern "C" const char* __tsan_default_suppressions();

extern "C" const char* __tsan_default_suppressions() {
  return "race_top:grpc::\n"
         "race:grpc::Status::\n"
         "race:grpc::internal::CallOp\n"
         "race:grpc::internal::CallbackWithSuccessTag\n"
         "race:grpc::internal::InterceptorBatchMethodsImpl\n"
         "race:ServerCallbackUnaryImpl::Finish\n"
         "race:ServerCallbackUnaryImpl::~ServerCallbackUnaryImpl\n"
         "race:grpc::internal::ServerCallbackCall\n"
         "race:grpc::ServerUnaryReactor::InternalBindCall\n";
}
