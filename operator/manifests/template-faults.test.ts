import { describe, expect, test } from 'vitest';
import { templateFaults } from './template-faults.ts';

const pod = (spec: object): object => ({ spec });
const runtime = (fields: object): object => pod({ containers: [{ name: 'runtime', ...fields }] });

describe('what only the chart may allow', () => {
  test.each<[string, object]>([
    ['spec.containers[0].image', runtime({ image: 'x' })],
    ['spec.containers[0].command', runtime({ command: ['x'] })],
    ['spec.containers[0].args', runtime({ args: ['x'] })],
    ['spec.serviceAccountName', pod({ serviceAccountName: 'default' })],
    ['spec.serviceAccount', pod({ serviceAccount: 'default' })],
    ['spec.containers[0].name', pod({ containers: [{ name: 'proxy' }] })],
    ['spec.initContainers[0].name', pod({ initContainers: [{ name: 'runtime' }] })],
    ['spec.hostNetwork', pod({ hostNetwork: true })],
    ['spec.hostPID', pod({ hostPID: true })],
    ['spec.hostIPC', pod({ hostIPC: true })],
    [
      'spec.volumes[1].hostPath',
      pod({
        volumes: [
          { name: 'a', emptyDir: {} },
          { name: 'b', hostPath: { path: '/' } },
        ],
      }),
    ],
    ['spec.securityContext.seccompProfile.type', pod({ securityContext: { seccompProfile: { type: 'Unconfined' } } })],
    [
      'spec.securityContext.sysctls[0].name',
      pod({ securityContext: { sysctls: [{ name: 'kernel.msgmax', value: '1' }] } }),
    ],
    ['spec.containers[0].securityContext.privileged', runtime({ securityContext: { privileged: true } })],
    [
      'spec.containers[0].securityContext.capabilities.add',
      runtime({ securityContext: { capabilities: { add: ['SYS_ADMIN'] } } }),
    ],
    ['spec.containers[0].securityContext.procMount', runtime({ securityContext: { procMount: 'Unmasked' } })],
    [
      'spec.containers[0].securityContext.seLinuxOptions.type',
      runtime({ securityContext: { seLinuxOptions: { type: 'spc_t' } } }),
    ],
    [
      'spec.containers[0].securityContext.appArmorProfile.type',
      runtime({ securityContext: { appArmorProfile: { type: 'Unconfined' } } }),
    ],
    ['spec.containers[0].ports[0].hostPort', runtime({ ports: [{ containerPort: 8080, hostPort: 80 }] })],
    [
      'spec.containers[0].livenessProbe.httpGet.host',
      runtime({ livenessProbe: { httpGet: { host: '10.0.0.1', port: 80 } } }),
    ],
    [
      'spec.initContainers[0].securityContext.privileged',
      pod({ initContainers: [{ name: 'fetch', securityContext: { privileged: true } }] }),
    ],
    [
      'metadata.annotations[container.apparmor.security.beta.kubernetes.io/runtime]',
      { metadata: { annotations: { 'container.apparmor.security.beta.kubernetes.io/runtime': 'unconfined' } } },
    ],
  ])('%s', (field, template) => {
    expect(templateFaults(template, { isOpen: false }).map((fault) => fault.split(': ')[0])).toEqual([field]);
    expect(templateFaults(template, { isOpen: true })).toEqual([]);
  });
});

describe('what nobody may say', () => {
  test.each<[string, object]>([
    ['spec.containers[0].env[0]', runtime({ env: [{ name: 'KUBEMBED_MODEL', value: 'org/other' }] })],
    ['spec.initContainers[0].env[0]', pod({ initContainers: [{ name: 'fetch', env: [{ name: 'KUBEMBED_MODEL' }] }] })],
    ['metadata.labels[kubembed.dev/model]', { metadata: { labels: { 'kubembed.dev/model': 'x' } } }],
    ['spec.containers[0]', runtime({ $patch: 'delete' })],
    ['spec.containers[0]', runtime({ $patch: 'replace' })],
    ['spec.containers[0]', pod({ containers: [{ $patch: 'replace' }] })],
    ['spec.initContainers', pod({ initContainers: null })],
    ['spec.initContainers', pod({ initContainers: { $patch: 'delete' } })],
    ['spec.$patch', pod({ $patch: 'replace' })],
    ['spec.containers', pod({ containers: 'runtime' })],
    ['spec', { spec: 1 }],
  ])('%s', (field, template) => {
    for (const isOpen of [true, false])
      expect(templateFaults(template, { isOpen }).map((fault) => fault.split(': ')[0])).toEqual([field]);
  });

  test('and what is fine', () => {
    const fine = {
      metadata: { labels: { a: 'b' } },
      spec: {
        hostNetwork: false,
        volumes: [{ name: 'a', hostPath: null, configMap: { name: 'a' } }],
        securityContext: { runAsUser: null, seccompProfile: { type: 'Localhost', localhostProfile: 'a' } },
        containers: [
          {
            name: 'runtime',
            env: [{ name: 'A' }],
            ports: [{ containerPort: 1 }],
            securityContext: { privileged: false, capabilities: { drop: ['ALL'], add: ['CHOWN'] } },
          },
        ],
      },
    };
    for (const template of [undefined, {}, fine]) expect(templateFaults(template, { isOpen: false })).toEqual([]);
  });
});
