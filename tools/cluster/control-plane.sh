# etcd, kube-apiserver, kube-controller-manager and kube-scheduler. Sourced by up.sh.

start_control_plane() {
  local etcd=http://127.0.0.1:$ETCD_PORT peer=http://127.0.0.1:$((ETCD_PORT + 1))
  start etcd "$BIN/etcd" --name kubembed --data-dir "$RUN/etcd" --unsafe-no-fsync --log-level warn \
    --listen-client-urls "$etcd" --advertise-client-urls "$etcd" \
    --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "kubembed=$peer"
  start kube-apiserver "$BIN/kube-apiserver" --etcd-servers "$etcd" \
    --bind-address 0.0.0.0 --advertise-address $NODE_IP --secure-port $API_PORT \
    --service-cluster-ip-range $SVC_CIDR --service-node-port-range 30000-30999 \
    --client-ca-file "$PKI/ca.crt" --tls-cert-file "$PKI/apiserver.crt" --tls-private-key-file "$PKI/apiserver.key" \
    --service-account-issuer https://kubernetes.default.svc.cluster.local \
    --service-account-key-file "$PKI/service-accounts.pub" --service-account-signing-key-file "$PKI/service-accounts.key" \
    --kubelet-client-certificate "$PKI/apiserver-kubelet.crt" --kubelet-client-key "$PKI/apiserver-kubelet.key" \
    --kubelet-certificate-authority "$PKI/ca.crt" --kubelet-preferred-address-types InternalIP \
    --requestheader-client-ca-file "$PKI/ca.crt" --requestheader-allowed-names front-proxy-client \
    --requestheader-username-headers X-Remote-User --requestheader-group-headers X-Remote-Group \
    --requestheader-extra-headers-prefix X-Remote-Extra- \
    --proxy-client-cert-file "$PKI/front-proxy.crt" --proxy-client-key-file "$PKI/front-proxy.key" \
    --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction --allow-privileged=true \
    --audit-policy-file "$HERE/manifests/audit-policy.yaml" --audit-log-path "$LOG/audit.jsonl" --profiling=false
  wait_for 120 kube-apiserver "$BIN/kubectl" get --raw /readyz
  # One of each, so no leader election: it would only delay the start. But a manager that lives through an outage of the API server
  # takes the node for dead, whose Lease could not be renewed either, and every pod for unready; hence the grace.
  start kube-controller-manager "$BIN/kube-controller-manager" $(client_flags controller-manager) \
    --bind-address 127.0.0.1 --leader-elect=false --node-monitor-grace-period 1h0m0s --use-service-account-credentials \
    --root-ca-file "$PKI/ca.crt" --service-account-private-key-file "$PKI/service-accounts.key" \
    --allocate-node-cidrs --cluster-cidr $POD_CIDR --service-cluster-ip-range $SVC_CIDR --profiling=false
  start kube-scheduler "$BIN/kube-scheduler" $(client_flags scheduler) --bind-address 127.0.0.1 --leader-elect=false --profiling=false
}

client_flags() { echo "--kubeconfig $RUN/$1.kubeconfig --authentication-kubeconfig $RUN/$1.kubeconfig --authorization-kubeconfig $RUN/$1.kubeconfig"; }
