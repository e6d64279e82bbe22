// What a dashboard of ours may be, made of Grafana's own types: any other property or value is an error of the compiler.
// Grafana leaves a panel's options and queries open; here they are closed by the panel's kind.

import type { AnnotationQuery, Dashboard, DataQuery, DataSourceRef, FieldConfig, Panel, VariableModel } from "@grafana/schema";
import type * as Stat from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type * as TimeSeries from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

// JSON has no enums: a string enum is given by its values.
type Json<T> = T extends string ? `${T}` : T extends (infer Item)[] ? Json<Item>[] : T extends object ? { [Key in keyof T]: Json<T[Key]> } : T;

// Without the index signature that lets anything pass.
type Closed<T> = { [Key in keyof T as string extends Key ? never : Key]: T[Key] };

type Query = Json<Closed<DataQuery>> & {
  expr: string;
  legendFormat: string;
  editorMode: "code" | "builder";
  range: boolean;
  instant: boolean;
  datasource: DataSourceRef;
};

type Fields<Custom> = {
  defaults: Omit<Json<Closed<FieldConfig>>, "custom" | "unit" | "links"> & { unit: string; custom?: Custom };
  overrides: never[];
};

type PanelOf<Kind extends string, Options, Custom> = Omit<Json<Closed<Panel>>, "type" | "options" | "fieldConfig" | "targets" | "title" | "description" | "gridPos"> & {
  type: Kind;
  title: string;
  description: string;
  gridPos: { x: number; y: number; w: number; h: number };
  options: Json<Options>;
  fieldConfig: Fields<Custom>;
  targets: [Query, ...Query[]];
};

type OurPanel =
  | PanelOf<"timeseries", TimeSeries.Options, Json<TimeSeries.FieldConfig>>
  | PanelOf<"stat", Stat.Options, never>;

// With what the Prometheus data source reads of it (@grafana/prometheus, annotations).
type OurEvent = Json<Closed<AnnotationQuery>> & { expr: string; step: string; titleFormat: string; textFormat: string };

export type OurDashboard = Omit<Json<Closed<Dashboard>>, "panels" | "templating" | "annotations" | "uid" | "title"> & {
  uid: string;
  title: string;
  annotations: { list: OurEvent[] };
  panels: [OurPanel, ...OurPanel[]];
  templating: { list: Json<Closed<VariableModel>>[] };
};
