//! One module per component: what its page says.

mod apiserver;
mod cadvisor;
mod controller_manager;
mod etcd;
mod kube_state;
mod node;
mod scheduler;

use crate::cluster::ClusterView;
use crate::text::Page;
use crate::topology::{Component, Target};

/// The page of a target.
pub(crate) fn render(target: &Target, view: &ClusterView<'_>) -> String {
    let mut page = Page::new();
    // The parts of a cluster have no node; 0 stands for it and is not looked at.
    let node = target.node.unwrap_or(0);
    match target.component {
        Component::KubeApiserver => apiserver::write(&mut page, view),
        Component::KubeControllerManager => controller_manager::write(&mut page, view),
        Component::KubeScheduler => scheduler::write(&mut page, view),
        Component::KubeStateMetrics => kube_state::write(&mut page, view),
        Component::Etcd => etcd::write(&mut page, view),
        Component::Cadvisor => cadvisor::write(&mut page, view, node),
        Component::NodeExporter => node::write(&mut page, view, node),
    }
    page.into_text()
}
