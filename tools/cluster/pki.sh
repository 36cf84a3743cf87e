# Certificates and kubeconfigs of the test cluster. Sourced by up.sh, after lib.sh.

# issue NAME CN ORGANISATION [SUBJECT_ALT_NAMES]
issue() {
  local name=$1 cn=$2 organisation=$3 names=${4:-}
  [ ! -f "$PKI/$name.crt" ] || return 0
  openssl ecparam -genkey -name prime256v1 -noout -out "$PKI/$name.key"
  openssl req -new -key "$PKI/$name.key" -subj "/O=$organisation/CN=$cn" -out "$PKI/$name.csr"
  {
    echo 'basicConstraints=critical,CA:FALSE'
    echo 'keyUsage=critical,digitalSignature'
    echo 'extendedKeyUsage=clientAuth,serverAuth'
    [ -z "$names" ] || echo "subjectAltName=$names"
  } >"$PKI/$name.ext"
  openssl x509 -req -in "$PKI/$name.csr" -CA "$PKI/ca.crt" -CAkey "$PKI/ca.key" -CAcreateserial -days 365 \
    -extfile "$PKI/$name.ext" -out "$PKI/$name.crt" 2>/dev/null
}

# kubeconfig NAME: certificates inline, so that the file can be handed on alone
kubeconfig() {
  (umask 077; cat >"$RUN/$1.kubeconfig") <<K
apiVersion: v1
kind: Config
clusters: [{name: kubembed, cluster: {server: "https://$(in_url "$API_IP"):$API_PORT", certificate-authority-data: $(base64 -w0 "$PKI/ca.crt")}}]
users: [{name: $1, user: {client-certificate-data: $(base64 -w0 "$PKI/$1.crt"), client-key-data: $(base64 -w0 "$PKI/$1.key")}}]
contexts: [{name: kubembed, context: {cluster: kubembed, user: $1, namespace: default}}]
current-context: kubembed
K
}

make_pki() {
  local loopback='DNS:localhost,IP:127.0.0.1' name
  if [ ! -f "$PKI/ca.crt" ]; then
    openssl ecparam -genkey -name prime256v1 -noout -out "$PKI/ca.key"
    openssl req -x509 -new -key "$PKI/ca.key" -subj /CN=kubembed-test-ca -days 365 -out "$PKI/ca.crt" \
      -addext 'keyUsage=critical,digitalSignature,keyCertSign'
    openssl genrsa -out "$PKI/service-accounts.key" 2048 2>/dev/null
    openssl rsa -in "$PKI/service-accounts.key" -pubout -out "$PKI/service-accounts.pub" 2>/dev/null
  fi
  issue apiserver kube-apiserver kubernetes "$loopback,IP:$API_IP,IP:$(api_service "$MAIN"),DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
  issue apiserver-kubelet kube-apiserver-kubelet system:masters
  issue front-proxy front-proxy-client kubernetes
  issue admin admin system:masters
  issue controller-manager system:kube-controller-manager system:kube-controller-manager "$loopback"
  issue scheduler system:kube-scheduler system:kube-scheduler "$loopback"
  issue kube-proxy system:kube-proxy kubernetes
  for name in admin controller-manager scheduler kube-proxy; do kubeconfig $name; done
}

make_node_pki() {
  issue "kubelet-$NODE" "system:node:$NODE" system:nodes "DNS:$NODE,IP:127.0.0.1,IP:$(listed node_ip | sed s/,/,IP:/)"
  kubeconfig "kubelet-$NODE"
}
