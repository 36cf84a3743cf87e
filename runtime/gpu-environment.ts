// What libraries read from the environment and a GPU needs otherwise than by default. Pure.

/** To be set in the main thread, before a session is made and before libuv's pool is used: both are read once. */
export const gpuEnvironment = (cpus: number): Readonly<Record<string, string>> => ({
  // On Hopper and newer ONNX Runtime prefers cuDNN's attention, which is compiled anew for each shape: 0.4 s for a run of 5 ms.
  ORT_ENABLE_CUDNN_FLASH_ATTENTION: '0',
  // Else cuBLAS rounds float32 to the 10 bits of TF32: who asks for float32 gets vectors off in the fourth digit.
  NVIDIA_TF32_OVERRIDE: '0',
  // Texts are tokenised on that pool. Its four threads are what computing leaves over on a CPU; here cores have nothing else to do.
  UV_THREADPOOL_SIZE: String(Math.max(4, cpus)),
});
