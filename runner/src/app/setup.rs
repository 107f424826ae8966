//! From a pipeline file to everything that a command needs: the pipeline, its plugins, helm, the selection of steps.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::future::join_all;

use super::{AppError, error::chain};
use crate::{
    cli::{ClusterArgs, GlobalArgs, PipelineArgs, SelectionArgs},
    cluster::{
        Cluster, ErrorKind,
        live::{ConnectOptions, Live},
    },
    exit_code::ExitCode,
    helm::{Helm, HelmOptions},
    ids::StepId,
    lock::LockFile,
    plan::Selection,
    plugin::{Digest, Isolation, Loader, Plugin, SearchPath, Wanted},
    spec::{self, Finding, Overrides, Pipeline},
};

/// The lock file beside a pipeline.
const LOCK_FILE: &str = "meshrun.lock";

/// A pipeline and its plugins, found to fit each other.
pub(super) struct Prepared {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) plugins: BTreeMap<StepId, Plugin>,
    pub(super) lock: Option<LockFile>,
}

/// Reads the pipeline.
pub(super) fn load(args: &PipelineArgs) -> Result<Pipeline, AppError> {
    let overrides = Overrides {
        vars: args.var.clone(),
        sets: args.set.clone(),
        matrix: args.matrix.clone(),
        env: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
    };
    Ok(spec::load(&args.pipeline, &overrides)?)
}

/// Reads the pipeline, loads its plugins and checks each step's configuration against its plugin's schema.
pub(super) async fn prepare(global: &GlobalArgs, args: &PipelineArgs) -> Result<Prepared, AppError> {
    let pipeline = load(args)?;
    let lock = LockFile::read(&beside(&pipeline.path))?;
    let plugins = plugins(global, &pipeline, lock.as_ref()).await?;
    let mut findings = Vec::new();
    let scope = pipeline.scope();
    for step in &pipeline.steps {
        if let Some(plugin) = plugins.get(&step.id) {
            let evaluated = spec::evaluate(step, &scope)?;
            findings.extend(spec::validate_with(step, &evaluated.with, &plugin.description().config_schema));
        }
    }
    findings.extend(spec::validate_capabilities(&pipeline, |step| {
        let description = plugins.get(step).map(Plugin::description)?;
        Some((description.provides.as_slice(), description.requires.as_slice()))
    }));
    findings.extend(spec::validate_outputs(&pipeline, |step| {
        let description = plugins.get(step).map(Plugin::description)?;
        Some(description.outputs.iter().map(|output| output.name.as_str()).collect())
    }));
    spec::settle(findings)?;
    Ok(Prepared { pipeline: Arc::new(pipeline), plugins, lock })
}

async fn plugins(
    global: &GlobalArgs,
    pipeline: &Pipeline,
    lock: Option<&LockFile>,
) -> Result<BTreeMap<StepId, Plugin>, AppError> {
    let loader = loader(global);
    let loaded = join_all(pipeline.steps.iter().map(|step| {
        let file = pipeline.plugins.get(&step.uses);
        let pin = file
            .and_then(|file| file.sha256.clone())
            .or_else(|| lock.and_then(|lock| lock.plugins.get(&step.uses).cloned()));
        let isolation = match step.isolation {
            spec::Isolation::Process => Isolation::Child,
            spec::Isolation::InProcess => Isolation::InProcess,
        };
        let loader = loader.clone().isolation(isolation);
        async move {
            let pin = pin.map(|pin| pin.parse::<Digest>()).transpose().map_err(|error| {
                step.error_of_uses(format!("the digest of plugin `{}`: {error}", step.uses), None)
            })?;
            // What `plugins:` says starts at the file that says it already.
            let (file, base) = match file {
                Some(file) => (Some(file.path.as_path()), Path::new("")),
                None => (None, step.directory()),
            };
            let wanted = Wanted { uses: &step.uses, file, base, pin: pin.as_ref() };
            let plugin = loader.load(wanted).await;
            let plugin = plugin.map_err(|error| step.error_of_uses(chain(&error), error.hint()))?;
            Ok::<_, Finding>((step.id.clone(), plugin))
        }
    }))
    .await;
    let (mut plugins, mut findings) = (BTreeMap::new(), Vec::new());
    for loaded in loaded {
        match loaded {
            Ok((step, plugin)) => drop(plugins.insert(step, plugin)),
            Err(finding) => findings.push(finding),
        }
    }
    spec::settle(findings)?;
    Ok(plugins)
}

/// The plugins' loader as the command line says.
pub(super) fn loader(global: &GlobalArgs) -> Loader {
    Loader::new(SearchPath::new(global.plugins.clone()))
}

/// Helm as the command line, the environment and the pipeline say; starts nothing.
pub(super) fn helm(global: &GlobalArgs, pipeline: &Pipeline, lock: Option<LockFile>) -> Helm {
    let from_env = std::env::var_os("MESHRUN_CHARTS");
    let from_env =
        from_env.iter().flat_map(std::env::split_paths).filter(|path| !path.as_os_str().is_empty());
    let mirrors = global.charts.iter().cloned().chain(from_env).chain(pipeline.charts.clone()).collect();
    let named = || std::env::var_os("MESHRUN_HELM").filter(|path| !path.is_empty()).map(PathBuf::from);
    let helm = global.helm.clone().or_else(named);
    Helm::new(HelmOptions { helm, mirrors, cache: crate::cache::directory(), lock })
}

/// Connects to the cluster and refuses one that the pipeline is not meant for.
pub(super) async fn connect(args: &ClusterArgs, pipeline: &Pipeline) -> Result<Arc<dyn Cluster>, AppError> {
    let target = pipeline.target.as_ref();
    let wrong = |what: &str, is: &str, wanted: &str| {
        AppError::new(
            ExitCode::Cluster,
            format!("the pipeline is meant for {what} `{wanted}`, this is `{is}`"),
        )
        .hint("choose the right cluster (--context), or change `target:` in the pipeline")
    };
    let meant = target.and_then(|target| target.context.as_ref());
    if let (Some(wanted), Some(given)) = (meant, &args.context)
        && wanted != given
    {
        return Err(wrong("context", given, wanted));
    }
    let options = ConnectOptions {
        kubeconfig: args.kubeconfig.clone(),
        context: meant.or(args.context.as_ref()).cloned(),
    };
    let live = Live::connect(&options).await.map_err(|error| match meant {
        Some(context) if error.kind == ErrorKind::Config => AppError::from(error).hint(format!(
            "the pipeline is meant for context `{context}` (`target:`): pass the --kubeconfig that has it"
        )),
        _ => error.into(),
    })?;
    if let Some(wanted) = target.and_then(|target| target.server.as_ref())
        && wanted.trim_end_matches('/') != live.server()
    {
        return Err(wrong("server", live.server(), wanted));
    }
    Ok(Arc::new(live))
}

/// The steps that `--only` and `--from` choose.
pub(super) fn select(args: &SelectionArgs, pipeline: &Pipeline) -> Result<Selection, AppError> {
    let known = |name: &String| {
        pipeline.step(name).map(|step| step.id.clone()).ok_or_else(|| {
            let steps: Vec<&str> = pipeline.steps.iter().map(|step| step.id.as_str()).collect();
            let hint = match spec::closest(name, steps.iter().copied()) {
                Some(step) => format!("did you mean `{step}`?"),
                None => format!("its steps are: {}", steps.join(", ")),
            };
            AppError::new(ExitCode::BadInput, format!("the pipeline has no step `{name}`")).hint(hint)
        })
    };
    if let Some(from) = &args.from {
        let from = known(from)?;
        let steps = pipeline.steps.iter().filter(|step| step.id == from || step.ancestors.contains(&from));
        return Ok(Selection { steps: Some(steps.map(|step| step.id.clone()).collect()) });
    }
    if args.only.is_empty() {
        return Ok(Selection::default());
    }
    let steps: BTreeSet<StepId> = args.only.iter().map(known).collect::<Result<_, _>>()?;
    Ok(Selection { steps: Some(steps) })
}

/// The lock file that belongs to a pipeline file.
pub(super) fn beside(pipeline: &Path) -> PathBuf {
    pipeline.with_file_name(LOCK_FILE)
}
