// Names each test file of the slow projects when it begins: the log of a run that hangs then ends with the one to look at.
import type { Reporter, TestModule } from 'vitest/node';

// eslint-disable-next-line no-restricted-syntax -- vitest takes a reporter from the file's default export
export default class implements Reporter {
  onTestModuleStart(module: TestModule): void {
    if (module.project.name !== 'unit') console.log(`${new Date().toISOString()} ${module.relativeModuleId}`);
  }
}
