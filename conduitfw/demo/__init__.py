"""The firewall at work between real clients and servers, in network namespaces of this machine."""
