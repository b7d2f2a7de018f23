//! A field list and a model make plans.
//!
//! For a socket of one type there is one plan; for a socket of every type there is one per type, and a
//! name need only be known to some type. So each field gets a mark per type tried, and the verdict falls
//! when all are done.

use std::collections::HashMap;
use std::sync::Arc;

use tidewire_event::ObjectType;
use tidewire_model::{MemberKind, Members, Model, TypeDef, UnknownTypes, distance};

use crate::list::{Below, Field, path_text, quoted};
use crate::mask::{Form, Plan, Plans, Scope, Step};
use crate::{FieldList, FieldListError};

/// Up to so many steps are looked up one by one.
const LOOKED_UP_MAX: usize = 8;

/// The plans of a mask.
#[derive(Debug, Default)]
pub(crate) struct Compiled {
    /// By type, for the subscribed objects.
    pub(crate) main: Plans,
    /// For subscribed objects of a type that the model does not define.
    pub(crate) other: Option<Arc<Plan>>,
    /// By type, for objects below the subscribed one.
    pub(crate) below: Plans,
}

/// What became of a field in the types tried so far.
#[derive(Clone, Default)]
struct Mark {
    is_known: bool,
    denied: Option<ObjectType>,
    /// Nearest name with its distance.
    nearest: Option<(usize, Box<str>)>,
    is_below_plain: bool,
}

/// What the names of one object are looked up in.
#[derive(Clone, Copy)]
enum Shape<'a> {
    Type(&'a TypeDef),
    Nested(&'a Members),
    /// The model says nothing about it.
    Unknown,
}

impl<'a> Shape<'a> {
    const fn members(self) -> Option<&'a Members> {
        match self {
            Self::Type(def) => Some(def.members()),
            Self::Nested(members) => Some(members),
            Self::Unknown => None,
        }
    }

    const fn is_open(self) -> bool {
        match self {
            Self::Type(def) => def.is_open(),
            Self::Nested(_) => false,
            Self::Unknown => true,
        }
    }
}

struct Compiler<'a> {
    model: &'a Model,
    may_read: &'a dyn Fn(&str) -> bool,
    marks: Vec<Mark>,
    /// Whether the next object takes no name for known that only an open type could have: on a socket of
    /// every type such a type would make every slip of the pen a known name.
    is_strict: bool,
    /// The plans of standard lists, which are the same wherever they are used.
    standard: Plans,
}

pub(crate) fn compile(
    list: &FieldList,
    model: &Model,
    scope: Scope<'_>,
    may_read: &dyn Fn(&str) -> bool,
) -> Result<Compiled, FieldListError> {
    let mut compiler = Compiler {
        model,
        may_read,
        marks: vec![Mark::default(); list.count],
        is_strict: false,
        standard: HashMap::new(),
    };
    let mut compiled = Compiled::default();
    let accepts = model.unknown_types() == UnknownTypes::Accept;
    // Marks of types that the caller will get no event of: a name that only they have is known, but
    // naming it may be forbidden.
    let mut unreadable = vec![Mark::default(); list.count];
    match scope {
        Scope::One(object_type) => match model.type_def(object_type.as_str()) {
            Some(def) => {
                let plan = compiler.object(&list.fields, Shape::Type(def));
                compiled.below = below(&plan, def, model);
                compiled.main.insert(object_type.clone(), plan);
            }
            None if accepts => compiled.other = Some(compiler.object(&list.fields, Shape::Unknown)),
            None => {
                let nearest = model.nearest_type(object_type.as_str()).map(ToString::to_string);
                return Err(FieldListError::UnknownType { name: object_type.to_string(), nearest });
            }
        },
        Scope::Any => {
            for object_type in model.types() {
                let Some(def) = model.type_def(object_type.as_str()) else { continue };
                let may_read_it = may_read(object_type.as_str());
                if !may_read_it {
                    std::mem::swap(&mut compiler.marks, &mut unreadable);
                }
                compiler.is_strict = true;
                let plan = compiler.object(&list.fields, Shape::Type(def));
                if !may_read_it {
                    std::mem::swap(&mut compiler.marks, &mut unreadable);
                }
                compiled.main.insert(object_type.clone(), plan);
            }
            if accepts {
                compiled.other = Some(compiler.object(&list.fields, Shape::Unknown));
            }
        }
    }
    let marks = [compiler.marks, unreadable];
    Verdict { model, marks: &marks }.fields(&list.fields, &mut Vec::new())?;
    Ok(compiled)
}

impl<'a> Compiler<'a> {
    fn mark(&mut self, field: &Field, change: impl FnOnce(&mut Mark)) {
        if let Some(mark) = self.marks.get_mut(field.id) {
            change(mark);
        }
    }

    fn object(&mut self, fields: &[Field], shape: Shape<'a>) -> Arc<Plan> {
        let is_strict = std::mem::take(&mut self.is_strict);
        let mut steps = Vec::new();
        for field in fields {
            match &*field.name {
                "*" => self.standard_among(field, fields, shape, &mut steps),
                "key" | "self" => {
                    self.mark(field, |mark| mark.is_known = true);
                    self.below_plain(field);
                }
                name => {
                    if let Some(form) = self.member(field, shape, is_strict) {
                        steps.push(step(name, form));
                    }
                }
            }
        }
        plan(steps)
    }

    /// `"*":"*"`: the standard fields but for those that the list names itself.
    fn standard_among(
        &mut self,
        field: &Field,
        fields: &[Field],
        shape: Shape<'a>,
        steps: &mut Vec<Step>,
    ) {
        self.mark(field, |mark| mark.is_known = true);
        if let Shape::Type(def) = shape {
            self.check_standard(field, def);
        }
        let is_named = |name: &str| fields.iter().any(|field| *field.name == *name);
        steps.extend(self.standard_steps(shape).into_iter().filter(|step| !is_named(&step.name)));
    }

    /// One name of an object; `None` where the object cannot have such a member.
    fn member(&mut self, field: &Field, shape: Shape<'a>, is_strict: bool) -> Option<Form> {
        let member = shape.members().and_then(|members| members.get(&field.name));
        let is_named = member.is_some() || (shape.is_open() && !is_strict);
        if is_named {
            if let Shape::Type(def) = shape {
                self.check(field, def, std::iter::once(&*field.name));
            }
            self.mark(field, |mark| mark.is_known = true);
        } else {
            self.note_nearest(field, shape);
            if !shape.is_open() {
                return None;
            }
            // The open type shows the field if another type makes it known; it marks nothing.
            let marks = std::mem::take(&mut self.marks);
            let form = self.free(field);
            self.marks = marks;
            return Some(form);
        }
        let Some(member) = member else { return Some(self.free(field)) };
        match (member.kind(), &field.below) {
            (MemberKind::Open, _) => Some(self.free(field)),
            (MemberKind::Plain, _) => {
                self.below_plain(field);
                Some(Form::Raw)
            }
            (MemberKind::Reference(to), below) => {
                let Some(def) = self.model.type_def(to.as_str()) else {
                    return Some(self.free(field));
                };
                let plan = match below {
                    Below::Fields(fields) => self.object(fields, Shape::Type(def)),
                    Below::Star => {
                        self.check_standard(field, def);
                        self.standard(def)
                    }
                };
                Some(Form::Expanded(to.clone(), plan))
            }
            (MemberKind::Nested(members), Below::Fields(fields)) => {
                Some(Form::Nested(self.object(fields, Shape::Nested(members))))
            }
            (MemberKind::Nested(members), Below::Star) => {
                Some(Form::Nested(plan(self.standard_steps(Shape::Nested(members)))))
            }
        }
    }

    fn note_nearest(&mut self, field: &Field, shape: Shape<'a>) {
        let names = shape.members().into_iter().flat_map(Members::names);
        let near = names.filter_map(|name| distance(&field.name, name).map(|apart| (apart, name)));
        let Some((apart, name)) = near.min_by_key(|near| near.0) else { return };
        self.mark(field, |mark| {
            if mark.nearest.as_ref().is_none_or(|(former, _)| apart < *former) {
                mark.nearest = Some((apart, name.into()));
            }
        });
    }

    /// A field about whose value the model says nothing.
    fn free(&mut self, field: &Field) -> Form {
        match &field.below {
            Below::Star => Form::Raw,
            Below::Fields(fields) => Form::Nested(self.object(fields, Shape::Unknown)),
        }
    }

    fn below_plain(&mut self, field: &Field) {
        if let Below::Fields(fields) = &field.below {
            for field in fields {
                self.mark(field, |mark| mark.is_below_plain = true);
            }
        }
    }

    /// The standard fields of an object, each in the form that it has when nothing is said of it:
    /// references are not expanded, so this ends.
    fn standard_steps(&mut self, shape: Shape<'a>) -> Vec<Step> {
        let members = shape.members();
        let names: Vec<&str> = match shape {
            Shape::Type(def) => def.standard_fields().iter().map(|name| &**name).collect(),
            Shape::Nested(members) => members.names().collect(),
            Shape::Unknown => {
                return vec![Step {
                    name: Box::default(),
                    prefix: Box::default(),
                    form: Form::Rest,
                }];
            }
        };
        let members = names.into_iter().filter_map(|name| members?.get(name));
        members
            .map(|member| {
                let form = match member.kind() {
                    MemberKind::Plain | MemberKind::Open => Form::Raw,
                    MemberKind::Reference(to) => Form::Reference(to.clone()),
                    MemberKind::Nested(below) => {
                        Form::Nested(plan(self.standard_steps(Shape::Nested(below))))
                    }
                };
                step(member.name(), form)
            })
            .collect()
    }

    fn standard(&mut self, def: &'a TypeDef) -> Arc<Plan> {
        if let Some(plan) = self.standard.get(def.name()) {
            return Arc::clone(plan);
        }
        let made = plan(self.standard_steps(Shape::Type(def)));
        self.standard.insert(def.name().clone(), Arc::clone(&made));
        made
    }

    fn check_standard(&mut self, field: &Field, def: &TypeDef) {
        self.check(field, def, def.standard_fields().iter().map(|name| &**name));
    }

    /// Refuses a field that shows one of these members to a caller who may not read the type.
    fn check<'n>(
        &mut self,
        field: &Field,
        def: &TypeDef,
        mut names: impl Iterator<Item = &'n str>,
    ) {
        let minimal = def.minimal_view();
        if names.any(|name| !minimal.iter().any(|m| **m == *name))
            && !(self.may_read)(def.name().as_str())
        {
            self.mark(field, |mark| mark.denied = Some(def.name().clone()));
        }
    }
}

/// Looks for the first refused field.
struct Verdict<'a> {
    model: &'a Model,
    /// Of the types that the caller may read, and of the others.
    marks: &'a [Vec<Mark>; 2],
}

impl<'a> Verdict<'a> {
    fn fields(&self, fields: &'a [Field], path: &mut Vec<&'a str>) -> Result<(), FieldListError> {
        for field in fields {
            path.push(&field.name);
            self.field(field, path)?;
            if let Below::Fields(fields) = &field.below {
                self.fields(fields, path)?;
            }
            path.pop();
        }
        Ok(())
    }

    fn field(&self, field: &Field, path: &[&str]) -> Result<(), FieldListError> {
        let [readable, unreadable] = self.marks;
        let (Some(readable), Some(unreadable)) = (readable.get(field.id), unreadable.get(field.id))
        else {
            return Ok(());
        };
        let text = || path_text(path.iter().copied());
        let is_known = readable.is_known || (unreadable.is_known && unreadable.denied.is_none());
        let denied = match (&readable.denied, &unreadable.denied) {
            (Some(denied), _) => Some(denied),
            (None, denied) if !is_known => denied.as_ref(),
            _ => None,
        };
        if let Some(object_type) = denied {
            let minimal = self.model.minimal_view(object_type.as_str()).join(", ");
            return Err(FieldListError::NotReadable {
                path: text(),
                object_type: object_type.clone(),
                minimal,
            });
        }
        if is_known {
            return Ok(());
        }
        let nearest =
            [&readable.nearest, &unreadable.nearest].into_iter().flatten().min_by_key(|n| n.0);
        if nearest.is_none() && (readable.is_below_plain || unreadable.is_below_plain) {
            let parent = path_text(path.iter().copied().take(path.len().saturating_sub(1)));
            return Err(FieldListError::NoFields { path: text(), parent });
        }
        let nearest = nearest.map(|(_, name)| name.to_string());
        Err(FieldListError::UnknownField { path: text(), nearest })
    }
}

fn step(name: &str, form: Form) -> Step {
    Step { name: name.into(), prefix: format!(",{}:", quoted(name)).into_bytes().into(), form }
}

fn plan(steps: Vec<Step>) -> Arc<Plan> {
    let mut by_name = Vec::new();
    if steps.len() > LOOKED_UP_MAX {
        by_name.extend(0..steps.len());
        by_name.sort_by_key(|place| steps.get(*place).map(|step| step.name.as_bytes()));
    }
    Arc::new(Plan { steps, by_name })
}

/// The plans for objects below: the sub-lists under hierarchy members, level by level.
fn below(main: &Arc<Plan>, def: &TypeDef, model: &Model) -> Plans {
    let mut plans = Plans::new();
    let mut level = vec![(Arc::clone(main), def)];
    while !level.is_empty() {
        let mut next = Vec::new();
        for (plan, def) in level {
            for step in &plan.steps {
                let Form::Expanded(to, plan) = &step.form else { continue };
                if !def.hierarchy().contains(&step.name) {
                    continue;
                }
                plans.entry(to.clone()).or_insert_with(|| Arc::clone(plan));
                if let Some(def) = model.type_def(to.as_str()) {
                    next.push((Arc::clone(plan), def));
                }
            }
        }
        level = next;
    }
    plans
}
